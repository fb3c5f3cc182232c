/** Label, annotation and resource names that more than one process must agree on. */

export const API_GROUP = "fission.io";
export const API_VERSION = "v1";
export const API_GROUP_VERSION = "fission.io/v1";

/** Labels on pods and EndpointSlices of functions. */
export const LABEL_FUNCTION_NAME = "isotope.dev/function";
export const LABEL_FUNCTION_UID = "isotope.dev/function-uid";
export const LABEL_REVISION = "isotope.dev/revision";
export const LABEL_ENVIRONMENT = "isotope.dev/environment";
export const LABEL_ENVIRONMENT_UID = "isotope.dev/environment-uid";
/** `generic` | `claimed` | `specialised` | `retired`. */
export const LABEL_POD_STATE = "isotope.dev/pod-state";
/** `sidecar` on pods of foreign images, which have a fetcher. */
export const LABEL_CONTRACT = "isotope.dev/contract";
/** How pods of a function are had, on what a Deployment of its own has made: `newdeploy` or `container`. */
export const LABEL_EXECUTOR_TYPE = "isotope.dev/executor-type";
/** Condition of pods that a Deployment starts: the executor has given them their code. */
export const SPECIALISED_GATE = "isotope.dev/specialised";
/** `executor` on everything the executor owns, `builder` on builder pods. */
export const LABEL_COMPONENT = "app.kubernetes.io/component";
export const LABEL_MANAGED_BY = "app.kubernetes.io/managed-by";
export const MANAGED_BY = "isotope";
/** Kubernetes' own, on EndpointSlices that it makes for a Service; they have the Service's labels besides. */
export const LABEL_SERVICE_NAME = "kubernetes.io/service-name";

/** On a pod of a system without own addresses per pod (localkube outside Linux): the port its process listens on. */
export const ANNOTATION_HOST_PORT = "localkube.dev/host-port";

/** The port of the environment contract: user requests and control calls. */
export const FUNCTION_PORT = 8888;
/** The port of the fetcher beside a runtime or builder of a foreign image: control calls, and requests of functions. */
export const FETCHER_PORT = 8000;

/** Set by `isotope deploy`: the folder deployment that owns a resource, for pruning. */
export const LABEL_DEPLOYMENT = "isotope.dev/deployment";

/** On a Package: the entry file inside its source archive, when it is not to be looked up. Goes into `BuildRequest.entry`. */
export const ANNOTATION_ENTRY = "isotope.dev/entry";
/** On a Package, `"true"`: type-check when building. Goes into `BuildRequest.typeCheck`. */
export const ANNOTATION_TYPE_CHECK = "isotope.dev/type-check";

/** On a FunctionVersion: what the publisher says about it. */
export const ANNOTATION_DESCRIPTION = "isotope.dev/description";
/** Followed by a name: whoever still needs a FunctionVersion says so by an annotation, with the reason as its value. */
export const ANNOTATION_HOLD_PREFIX = "isotope.dev/hold.";
/** On every FunctionVersion: one that is deleted goes on serving until nothing refers to it. */
export const FINALIZER_VERSION_IN_USE = "isotope.dev/version-in-use";
/** On a CanaryConfig that changes weights: one that is deleted gives the old side its traffic back before it goes. */
export const FINALIZER_CANARY_WEIGHTS = "isotope.dev/canary-weights";
/** On a WorkflowRun whose run has not ended: one that is deleted has its run cancelled before it goes. */
export const FINALIZER_WORKFLOW_RUN = "isotope.dev/workflow-run";
/** On a FunctionAlias or HTTPTrigger (which wins): `header:NAME`, `cookie:NAME`, `query:NAME` or `client`: who has one side of a split keeps it. */
export const ANNOTATION_STICKY = "isotope.dev/sticky";
/** On an HTTPTrigger, `"true"`: testers may name the version that answers them. */
export const ANNOTATION_PREVIEW = "isotope.dev/preview";
/** With which header or cookie testers name it. */
export const HEADER_VERSION = "x-isotope-version";
export const COOKIE_VERSION = "isotope-version";
/** On a FunctionAlias: code was deployed, or is about to be, that has got no traffic yet. Taken away when it is released. */
export const ANNOTATION_UNRELEASED = "isotope.dev/unreleased";
/** On an HTTPTrigger of a workflow: how long a call waits for the end of its run, e.g. `30s`; default 0s: it gets the run's address. */
export const ANNOTATION_WORKFLOW_WAIT = "isotope.dev/workflow-wait";
/** On a CanaryConfig: `pause`, `resume`, `promote`, `abort` or `retry`; removed when it was obeyed. */
export const ANNOTATION_CANARY_COMMAND = "isotope.dev/canary-command";
/** On a WorkflowRun, whatever its value: its run shall be cancelled. */
export const ANNOTATION_CANCEL_REQUESTED = "fission.io/cancel-requested";
