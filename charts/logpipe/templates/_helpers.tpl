{{- define "logpipe.name" -}}
{{- default "logpipe-operator" .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* RELEASE-operator when the release already says what it is. Room is left for "-lease". */}}
{{- define "logpipe.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains "logpipe" .Release.Name }}
{{- printf "%s-operator" (.Release.Name | trunc 48 | trimSuffix "-") }}
{{- else }}
{{- printf "%s-logpipe-operator" (.Release.Name | trunc 40 | trimSuffix "-") }}
{{- end }}
{{- end }}

{{- define "logpipe.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "logpipe.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: name the account, since serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "logpipe.selector" -}}
app.kubernetes.io/name: {{ include "logpipe.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "logpipe.labels" -}}
{{- $own := include "logpipe.selector" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") }}
{{- merge $own (default dict .Values.commonLabels) | toYaml }}
{{- end }}

{{- /* image, the version of the app */}}
{{- define "logpipe.image" -}}
{{- $image := index . 0 }}
{{- $name := printf "%s/%s" $image.registry $image.repository | trimPrefix "/" }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default (index . 1) $image.tag) }}
{{- end }}
{{- end }}

{{- /* What reconciling takes. No Secret can be read, no pod be made or entered; brokers can be evicted. */}}
{{- define "logpipe.rules" -}}
- apiGroups: [logpipe.dev]
  resources: [logpipelines]
  verbs: [get, list, watch, patch]
- apiGroups: [logpipe.dev]
  resources: [logpipelines/status]
  verbs: [patch]
- apiGroups: [logpipe.dev]   # its objects name it as an owner that blocks
  resources: [logpipelines/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]   # `get` and `patch` of checkpoints, handed on to the ETL workers
  resources: [roles, rolebindings]
  verbs: [get, list, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, create, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]   # one that is deleted is not held up
  resources: [namespaces]
  verbs: [get]
- apiGroups: [""]   # volumes may grow
  resources: [persistentvolumeclaims]
  verbs: [list, patch]
- apiGroups: [""]   # brokers are restarted one at a time
  resources: [pods/eviction]
  verbs: [create]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
