import type { KubeObject } from "../store/kube-object.ts";

export interface PodLogOptions {
  /** Always set: the API fills in the only container, and refuses when there is a choice to make. */
  container: string;
  /** Stay and deliver new lines until the container ends or the reader leaves. */
  follow: boolean;
  /** The container's run before the present one. */
  previous: boolean;
  /** Put the RFC 3339 time with nanoseconds in front of every line. */
  timestamps: boolean;
  tailLines?: number;
  sinceSeconds?: number;
  /** RFC 3339. */
  sinceTime?: string;
  limitBytes?: number;
}

/** Where the API finds the output of a pod's containers; whoever runs the pods provides it. */
export interface PodLogs {
  /**
   * The log text from the first wanted line on. Rejects with an ApiError (400 BadRequest, for example
   * `container "x" in pod "y" is waiting to start: ContainerCreating`) before the first chunk when there is
   * nothing to read yet. Stops when `signal` aborts.
   */
  open(pod: KubeObject, options: PodLogOptions, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}
