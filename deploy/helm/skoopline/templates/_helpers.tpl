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
