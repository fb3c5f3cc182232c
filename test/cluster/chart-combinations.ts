const S3 = [
  "storage.s3.enabled=true",
  "storage.s3.endpoint=https://s3.example.com:9000",
  "storage.s3.bucket=b",
  "storage.s3.existingSecret=s3",
];
/** Every toggle at least once on and off, and what goes together. */
export const CHART_COMBINATIONS: readonly (readonly [string, readonly string[]])[] = [
  ["defaults", []],
  [
    "a single replica of everything",
    ["router", "executor", "controller", "workflows", "triggers"].map((part) => `${part}.replicas=1`),
  ],
  ["an S3 store with replicas", [...S3, "storage.replicas=3"]],
  ["no volumes", ["storage.persistence.enabled=false", "logs.persistence.enabled=false"]],
  [
    "claims that exist",
    [
      "storage.persistence.existingClaim=a",
      "logs.persistence.existingClaim=b",
      "storage.persistence.keep=false",
    ],
  ],
  ["no logs", ["logs.enabled=false"]],
  ["a collector namespace that exists", ["logs.collectorNamespace=chart-templates-logs"]],
  ["no Redis, and so no workflows and no events", ["redis.enabled=false"]],
  ["Redis without workflows", ["workflows.enabled=false"]],
  ["Redis without events", ["triggers.enabled=false"]],
  [
    "watches of other kinds, and one broker",
    [
      'triggers.watchable=[{"apiGroups":[""],"resources":["pods"]},{"apiGroups":["cert-manager.io"],"resources":["certificates"]}]',
      'networkPolicy.brokers=[{"to":[{"ipBlock":{"cidr":"198.51.100.7/32"}}],"ports":[{"port":9093}]}]',
    ],
  ],
  ["the values of a chart that had no events", ["triggers=null", "networkPolicy.brokers=null"]],
  ["no watches, and no brokers", ["triggers.watchable=[]", "networkPolicy.brokers=[]"]],
  ["Redis for functions too", ["redis.functions.enabled=true"]],
  ["Redis without a volume", ["redis.persistence.enabled=false"]],
  ["Redis on a claim", ["redis.persistence.existingClaim=r"]],
  ["another Redis", ["redis.url=rediss://u:p@redis.example.com:6380"]],
  [
    "another Redis, and none of the chart's own",
    ["redis.enabled=false", "redis.url=redis://redis.example.com:6379"],
  ],
  [
    "a Redis Cluster",
    ["redis.url=rediss+cluster://u:p@a.example.com:6380\\,b.example.com:6381\\,c.example.com"],
  ],
  ["a Redis of a secret", ["redis.existingSecret=r"]],
  [
    "another Redis, and one for functions, which is the chart's own",
    ["redis.url=redis://r:6379", "redis.functions.enabled=true"],
  ],
  [
    "a Redis of a secret, with an authority and ports of its own",
    ["redis.existingSecret=r", "redis.caSecret=ca", "redis.ports=[7000,7001,7002]"],
  ],
  ["no network policies", ["networkPolicy.enabled=false"]],
  [
    "strict network policies",
    [
      "networkPolicy.functions.internet=false",
      "networkPolicy.builders.internet=false",
      'networkPolicy.dnsCidrs=["169.254.20.10/32"]',
      'networkPolicy.apiServerCidrs=["203.0.113.1/32"]',
      'networkPolicy.metricsFrom=[{"namespaceSelector":{"matchLabels":{"name":"monitoring"}}}]',
      'networkPolicy.routerFrom=[{"ipBlock":{"cidr":"198.51.100.0/24"}}]',
      'networkPolicy.functions.extraEgress=[{"ports":[{"port":5432}]}]',
      'networkPolicy.functions.extraIngress=[{"ports":[{"port":9000}]}]',
      'networkPolicy.builders.extraEgress=[{"ports":[{"port":4873}]}]',
    ],
  ],
  ["no CRDs", ["crds.install=false"]],
  ["CRDs that go with the release", ["crds.keep=false"]],
  ["a key that exists", ["signingKey.existingSecret=own-key"]],
  ["no environment", ["functionNamespaces.environment.create=false"]],
  ["other function namespaces", ['functionNamespaces.labels=["kubernetes.io/metadata.name=default"]']],
  [
    "Gateway API and an ingress class",
    ["gatewayApi.enabled=true", "gatewayApi.defaultParent=edge/public", "ingress.className=nginx"],
  ],
  ["no cleanup", ["cleanup.enabled=false"]],
  [
    "load balancers",
    [
      "router.service.type=LoadBalancer",
      'router.service.loadBalancerSourceRanges=["198.51.100.0/24"]',
      "controller.service.type=LoadBalancer",
      'controller.service.loadBalancerSourceRanges=["198.51.100.0/24"]',
      "router.service.port=8080",
    ],
  ],
  [
    "scheduling and names",
    [
      "fullnameOverride=fns",
      "image.registry=registry.example.com:5000",
      "image.tag=v9",
      "environmentImage.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
      'imagePullSecrets=[{"name":"pull"}]',
      'commonLabels={"team":"a"}',
      ...["router", "executor", "controller", "storage", "logs", "workflows", "triggers", "redis"].flatMap(
        (part) => [
          `${part}.priorityClassName=system-cluster-critical`,
          `${part}.nodeSelector={"disk":"ssd"}`,
          `${part}.tolerations=[{"key":"a","operator":"Exists"}]`,
          `${part}.podAnnotations={"a":"b"}`,
          `${part}.podLabels={"c":"d"}`,
        ],
      ),
      'router.affinity={"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"Exists"}]}]}}}',
      "executor.topologySpreadConstraints=[]",
      "router.podDisruptionBudget.maxUnavailable=25%",
      "executor.podDisruptionBudget.enabled=false",
    ],
  ],
  [
    "settings of processes",
    [
      'router.settings={"queue-length":500,"access-log":"all","debug-errors":true}',
      'executor.settings={"lease":"10s"}',
      'controller.settings={"builds-at-once":2}',
      'triggers.settings={"deliveries":64,"dead-letter-ttl":"720h"}',
    ],
  ],
];
