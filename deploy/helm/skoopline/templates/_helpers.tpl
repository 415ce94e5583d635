{{- define "skoopline.labels" -}}
app.kubernetes.io/name: skoopline
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "skoopline.selector" -}}
app.kubernetes.io/name: skoopline
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- /* Where the token is: /run of the pod is the node's and read-only, so it cannot be in its usual place below /var/run. */ -}}
{{- define "skoopline.apiFolder" -}}/etc/skoopline-api{{- end }}
{{- /* The pipeline of the values; with k8s.enabled its receiver is in it and in every pipeline. */ -}}
{{- define "skoopline.pipeline" -}}
{{- $pipeline := deepCopy .Values.pipeline }}
{{- if .Values.k8s.enabled }}
{{- $given := default (dict) (get $pipeline.receivers "k8s") }}
{{- $account := dict "service_account" (include "skoopline.apiFolder" .) }}
{{- $_ := set $pipeline.receivers "k8s" (mergeOverwrite $account (deepCopy .Values.k8s.config) $given) }}
{{- range $id, $one := $pipeline.service.pipelines }}
{{- if not (has "k8s" $one.receivers) }}
{{- $_ := set $one "receivers" (append $one.receivers "k8s") }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $pipeline }}
{{- end }}
