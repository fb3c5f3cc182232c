{{- define "isotope.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object. Takes (dict "root" $ "component" "router"). */}}
{{- define "isotope.labels" -}}
{{ include "isotope.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: isotope
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Without the chart's version: a pod is made anew when something about it changes. Takes what isotope.labels takes, and "values". */}}
{{- define "isotope.podLabels" -}}
{{ include "isotope.selector" . }}
app.kubernetes.io/part-of: isotope
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with .values }}
{{- with .podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "isotope.selector" -}}
app.kubernetes.io/name: isotope
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Reference of an image. Takes (dict "root" $ "image" .Values.x "repository" "..."). */}}
{{- define "isotope.image" -}}
{{- $main := .root.Values.image -}}
{{- $registry := .image.registry | default $main.registry -}}
{{- $name := ternary .image.repository (printf "%s/%s" $registry .image.repository) (empty $registry) -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.tag | default $main.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "isotope.keySecret" -}}
{{- .Values.signingKey.existingSecret | default (printf "%s-signing-key" (include "isotope.fullname" .)) -}}
{{- end -}}

{{/* The namespace of the log collector. */}}
{{- define "isotope.collectorNamespace" -}}
{{- .Values.logs.collectorNamespace | default (printf "%s-logs" .Release.Namespace) -}}
{{- end -}}

{{- define "isotope.host" -}}
{{- printf "%s-%s.%s.svc.%s" (include "isotope.fullname" .root) .component .root.Release.Namespace .root.Values.clusterDomain -}}
{{- end -}}

{{/* Settings that a user gave, as environment variables. Takes (dict "prefix" "ISOTOPE_ROUTER_" "settings" map). */}}
{{- define "isotope.settings" -}}
{{- range $flag, $value := .settings }}
- name: {{ printf "%s%s" $.prefix ($flag | upper | replace "-" "_") }}
  value: {{ ternary (printf "%d" (int64 $value)) (toString $value) (and (kindIs "float64" $value) (eq (floor $value) $value)) | quote }}
{{- end }}
{{- end -}}

{{/* How pods of the platform look names up. */}}
{{- define "isotope.dnsConfig" -}}
# Names that are written out are looked up as they are, not in three search domains first.
dnsConfig:
  options:
    - name: ndots
      value: "2"
    # A question that got lost is asked again after 1 s, not after 5.
    - name: timeout
      value: "1"
    - name: attempts
      value: "5"
{{- end -}}

{{/* What all pods of the platform have. Takes (dict "root" $ "values" .Values.x "component" "x"). */}}
{{- define "isotope.podSettings" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
enableServiceLinks: false
{{ include "isotope.dnsConfig" . }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "isotope.spread" -}}
{{- if kindIs "slice" .values.topologySpreadConstraints }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- else }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "isotope.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end -}}

{{/* Pod Security "restricted". */}}
{{- define "isotope.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "isotope.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Probes of a process. Takes (dict "port" "metrics"). */}}
{{- define "isotope.probes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: {{ .port }}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 120
livenessProbe:
  httpGet:
    path: /healthz
    port: {{ .port }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ .port }}
  periodSeconds: 2
  # A node that is short of processors slows all replicas at once: late answers must not take the last one out of its Service.
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}

{{/* New connections still come for a moment after a pod was asked to end: it lets them pass before it hears of it. */}}
{{- define "isotope.lingering" -}}
lifecycle:
  preStop:
    sleep:
      seconds: {{ .seconds }}
{{- end -}}

{{- define "isotope.keyMount" -}}
- name: signing-key
  mountPath: /etc/isotope/signing-key
  readOnly: true
{{- end -}}

{{- define "isotope.keyVolume" -}}
- name: signing-key
  secret:
    secretName: {{ include "isotope.keySecret" . }}
    # Read by the pods' group; the processes run as another user than the one that owns the files.
    defaultMode: 0440
    items:
      - key: keys
        path: keys
{{- end -}}

{{/* The token of the pod's account where a process looks for it, for one container of a pod that gives it to none by itself. */}}
{{- define "isotope.tokenMount" -}}
- name: kubernetes-api
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end -}}

{{- define "isotope.tokenVolume" -}}
- name: kubernetes-api
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end -}}

{{- define "isotope.podNamespaceEnv" -}}
valueFrom:
  fieldRef:
    fieldPath: metadata.namespace
{{- end -}}

{{- define "isotope.pdb" -}}
{{- if and .values.podDisruptionBudget.enabled (gt (int .values.replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "isotope.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "isotope.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  # A pod that is not ready serves nobody: a drain may take it.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "isotope.selector" . | nindent 6 }}
{{- end }}
{{- end -}}

{{/* Replicated Deployment's head: two fields that all have. */}}
{{- define "isotope.rollout" -}}
replicas: {{ .values.replicas }}
revisionHistoryLimit: 5
strategy:
  type: RollingUpdate
  rollingUpdate:
    maxUnavailable: 0
    maxSurge: 1
{{- end -}}

{{- define "isotope.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "isotope.fullname" .root }}-{{ .component }}
  namespace: {{ .namespace | default .root.Release.Namespace }}
  labels:
    {{- include "isotope.labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- end -}}

{{/* The volume "data" of a component with one pod. */}}
{{- define "isotope.dataVolume" -}}
- name: data
{{- if .values.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ .values.persistence.existingClaim | default (printf "%s-%s" (include "isotope.fullname" .root) .component) }}
{{- else }}
  emptyDir:
    sizeLimit: {{ .values.persistence.size }}
{{- end }}
{{- end -}}

{{- define "isotope.claim" -}}
{{- if and .values.persistence.enabled (not .values.persistence.existingClaim) }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "isotope.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "isotope.labels" . | nindent 4 }}
  {{- if .values.persistence.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .values.persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .values.persistence.size }}
{{- end }}
{{- end -}}

{{- define "isotope.s3Port" -}}
{{- $url := urlParse .Values.storage.s3.endpoint -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/* Whether there is a workflow service: runs live in Redis. An upgrade that keeps the values of an older chart knows neither. */}}
{{- define "isotope.workflows" -}}
{{- $redis := .Values.redis | default dict -}}
{{- and (.Values.workflows | default dict).enabled (or $redis.enabled (ne $redis.url "") (ne $redis.existingSecret "")) -}}
{{- end -}}

{{/* Whether there is a trigger service: events live in Redis. */}}
{{- define "isotope.triggers" -}}
{{- $redis := .Values.redis | default dict -}}
{{- and (.Values.triggers | default dict).enabled (or $redis.enabled (ne $redis.url "") (ne $redis.existingSecret "")) -}}
{{- end -}}

{{/* Whether a component of this name is installed. Takes (dict "root" . "component" "x"). */}}
{{- define "isotope.installed" -}}
{{- if hasPrefix "log-" .component -}}
{{- .root.Values.logs.enabled -}}
{{- else if eq .component "redis" -}}
{{- include "isotope.redisBundled" .root -}}
{{- else if eq .component "workflows" -}}
{{- include "isotope.workflows" .root -}}
{{- else if eq .component "triggers" -}}
{{- include "isotope.triggers" .root -}}
{{- else -}}
true
{{- end -}}
{{- end -}}

{{- define "isotope.redisBundled" -}}
{{- and .Values.redis.enabled (not .Values.redis.url) (not .Values.redis.existingSecret) -}}
{{- end -}}

{{/* The way to Redis, which may stand anywhere when it is not the bundled one. */}}
{{- define "isotope.redisEgress" -}}
{{- if eq (include "isotope.redisBundled" .) "true" }}
- to:
    {{- include "isotope.peer" (dict "root" . "component" "redis") | nindent 4 }}
  ports:
    - port: 6379
{{- else if or .Values.redis.url .Values.redis.existingSecret }}
{{- $ports := list }}
{{- range .Values.redis.ports }}
{{- $ports = append $ports (toString .) }}
{{- end }}
{{- if not .Values.redis.existingSecret }}
{{- range splitList "," (regexReplaceAll "^[^/]*//([^@/]*@)?([^/?]*).*$" .Values.redis.url "${2}") }}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default "6379") }}
{{- end }}
{{- end }}
- ports:
    {{- range uniq $ports | default (list "6379" "6380") }}
    - port: {{ . }}
    {{- end }}
{{- end }}
{{- end -}}

{{/* Passwords of the bundled Redis as JSON: made once, the same for all templates of one run. */}}
{{- define "isotope.redisPasswords" -}}
{{- if not (hasKey .Values "_redisPasswords") -}}
{{- $found := lookup "v1" "Secret" .Release.Namespace (printf "%s-redis" (include "isotope.fullname" .)) -}}
{{- $data := dict -}}
{{- if $found -}}{{- $data = $found.data -}}{{- end -}}
{{- $platform := get $data "password" | b64dec | default (randAlphaNum 48) -}}
{{- $functions := get $data "functionsPassword" | b64dec | default (randAlphaNum 48) -}}
{{- $_ := set .Values "_redisPasswords" (dict "platform" $platform "functions" $functions) -}}
{{- end -}}
{{- get .Values "_redisPasswords" | toJson -}}
{{- end -}}

{{/* The Secret with the address that is a value: another one for another address, so that pods are made anew. */}}
{{- define "isotope.redisUrlSecret" -}}
{{- printf "%s-redis-%s" (include "isotope.fullname" .) (sha256sum .Values.redis.url | trunc 8) -}}
{{- end -}}

{{/* Whether the platform's Redis is one whose authority the pods must be told. */}}
{{- define "isotope.redisOwnCa" -}}
{{- if and .Values.redis.caSecret (or .Values.redis.url .Values.redis.existingSecret) -}}true{{- end -}}
{{- end -}}

{{- define "isotope.redisCaMount" -}}
{{- if eq (include "isotope.redisOwnCa" .) "true" }}
- name: redis-ca
  mountPath: /etc/isotope/redis-ca
  readOnly: true
{{- end }}
{{- end -}}

{{- define "isotope.redisCaVolume" -}}
{{- if eq (include "isotope.redisOwnCa" .) "true" }}
- name: redis-ca
  secret:
    secretName: {{ .Values.redis.caSecret }}
    items:
      - key: ca.crt
        path: ca.crt
{{- end }}
{{- end -}}

{{/* Environment variable "name" with the address of the platform's Redis; nothing without one. (dict "root" . "name" "…") */}}
{{- define "isotope.redisEnv" -}}
{{- $redis := .root.Values.redis -}}
{{- if $redis.existingSecret }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ $redis.existingSecret }}
      key: url
{{- else if $redis.url }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ include "isotope.redisUrlSecret" .root }}
      key: url
{{- else if $redis.enabled }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ include "isotope.fullname" .root }}-redis
      key: url
{{- end }}
{{- if eq (include "isotope.redisOwnCa" .root) "true" }}
- name: NODE_EXTRA_CA_CERTS
  value: /etc/isotope/redis-ca/ca.crt
{{- end }}
{{- end }}
