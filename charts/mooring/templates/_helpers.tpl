{{- /* Short enough for a DaemonSet's name, with the component after it, and one that a Service can have: without dots, and a letter first. */ -}}
{{- define "mooring.fullname" -}}
{{- if regexMatch "^[0-9]" .Release.Name -}}
{{- printf "%s-%s" .Chart.Name .Release.Name | replace "." "-" | trunc 34 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 34 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | replace "." "-" | trunc 34 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The helpers below take a dict: root is the chart's context, component a mode's short name such as "manila-node". */ -}}

{{- define "mooring.name" -}}
{{ include "mooring.fullname" .root }}-{{ .component }}
{{- end -}}

{{- define "mooring.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ toYaml .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "mooring.labels" -}}
{{ include "mooring.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end -}}

{{- /* labels of an object that has some of the user's, more, which win: a label is there once. */ -}}
{{- define "mooring.labelsAnd" -}}
{{ merge (deepCopy (.more | default dict)) (include "mooring.labels" . | fromYaml) | toYaml }}
{{- end -}}

{{- define "mooring.metadata" -}}
name: {{ include "mooring.name" . }}
namespace: {{ toYaml .root.Release.Namespace }}
labels:
  {{- include "mooring.labels" . | nindent 2 }}
{{- end -}}

{{- /* Of a cluster-wide object. */ -}}
{{- define "mooring.clusterMetadata" -}}
name: {{ include "mooring.name" . }}
labels:
  {{- include "mooring.labels" . | nindent 2 }}
{{- end -}}

{{- /* The image of a mode; fuse: the one with ceph-fuse. A digest stands for itself: a tag beside it would be read, and not heeded. */ -}}
{{- define "mooring.image" -}}
{{- $image := .root.Values.image -}}
{{- $which := printf ":%s%s" ($image.tag | default .root.Chart.AppVersion) (.fuse | ternary "-fuse" "") -}}
{{- with .fuse | ternary $image.fuseDigest $image.digest -}}
{{- $which = printf "@%s" . -}}
{{- end -}}
image: {{ printf "%s%s" $image.repository $which | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end -}}

{{- /* What all pods have: no token, no variables that name Services, the registry's Secrets. */ -}}
{{- define "mooring.pod" -}}
serviceAccountName: {{ include "mooring.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- include "mooring.pullSecrets" . }}
{{- end -}}

{{- /* A line of its own, if there are any. */ -}}
{{- define "mooring.pullSecrets" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "mooring.unprivilegedPod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "mooring.unprivileged" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- /* Of a mode with the cloud's Secret. */ -}}
{{- define "mooring.cloudArgs" -}}
- --clouds-file=/etc/openstack/clouds.yaml
- --os-cloud={{ .root.Values.cloud.name }}
{{- end -}}

{{- define "mooring.cloudMount" -}}
- name: cloud
  mountPath: /etc/openstack
  readOnly: true
{{- with include "mooring.caMount" . }}
{{ . }}
{{- end }}
{{- end -}}

{{- define "mooring.cloudVolume" -}}
- name: cloud
  secret:
    secretName: {{ .root.Values.cloud.existingSecret | quote }}
    defaultMode: 0440
{{- with include "mooring.caVolume" . }}
{{ . }}
{{- end }}
{{- end -}}

{{- /* The way to the cloud, as variables; Kubernetes' API is reached without the proxy. Of a URL each $ is doubled, since Kubernetes replaces $(NAME) and $$. */ -}}
{{- define "mooring.proxyEnv" -}}
{{- $cloud := .root.Values.cloud -}}
{{- if or $cloud.httpsProxy $cloud.httpProxy -}}
{{- with $cloud.httpsProxy }}
- name: HTTPS_PROXY
  value: {{ . | replace "$" "$$" | quote }}
{{- end }}
{{- with $cloud.httpProxy }}
- name: HTTP_PROXY
  value: {{ . | replace "$" "$$" | quote }}
{{- end }}
- name: NO_PROXY
  value: {{ append ($cloud.noProxy | default list) "$(KUBERNETES_SERVICE_HOST)" | join "," | quote }}
{{- end -}}
{{- end -}}

{{- /* The authorities of cloud.caConfigMap. The KMS plugin has none of this: kube-apiserver could need it to give the ConfigMap out. */ -}}
{{- define "mooring.caEnv" -}}
{{- if .root.Values.cloud.caConfigMap -}}
- name: SSL_CERT_DIR
  value: /etc/openstack-ca
{{- end -}}
{{- end -}}

{{- define "mooring.caMount" -}}
{{- if .root.Values.cloud.caConfigMap -}}
- name: cloud-ca
  mountPath: /etc/openstack-ca
  readOnly: true
{{- end -}}
{{- end -}}

{{- define "mooring.caVolume" -}}
{{- with .root.Values.cloud.caConfigMap -}}
- name: cloud-ca
  configMap:
    name: {{ . | quote }}
{{- end -}}
{{- end -}}

{{- define "mooring.cloudEnv" -}}
{{- include "mooring.proxyEnv" . | trim }}
{{ include "mooring.caEnv" . }}
{{- end -}}

{{- /* admin is host:port of the admin endpoint. */ -}}
{{- define "mooring.commonArgs" -}}
- --admin-listen={{ .admin }}
- --log-level={{ .root.Values.log.level }}
- --log-format={{ .root.Values.log.format }}
{{- end -}}

{{- /* Where the admin endpoint of a plugin on the node's network is: address, port, and host, which is where kubelet finds it. */ -}}
{{- define "mooring.nodeAdmin" -}}
admin: {{ printf "%s:%v" .adminAddress .adminPort | quote }}
port: {{ .adminPort }}
host: {{ eq .adminAddress "0.0.0.0" | ternary "127.0.0.1" .adminAddress }}
{{- end -}}

{{- /* port is a number or a name; host is where kubelet looks when it is not the pod's address. */ -}}
{{- define "mooring.probes" -}}
livenessProbe:
  httpGet:
    path: /livez
    port: {{ .port }}
    {{- with .host }}
    host: {{ . }}
    {{- end }}
  periodSeconds: 20
  timeoutSeconds: 5
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ .port }}
    {{- with .host }}
    host: {{ . }}
    {{- end }}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end -}}

{{/* The service account's token, for those who call Kubernetes' API. */}}
{{- define "mooring.kubernetesVolume" -}}
- name: kubernetes
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
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
{{- end }}

{{- /* Whether Kubernetes attaches volumes: "true", or nothing. */ -}}
{{- define "mooring.attach" -}}
{{- $inherited := has .Values.manila.driverName (list "nfs.manila.csi.openstack.org" "cephfs.manila.csi.openstack.org") -}}
{{- if or (eq (toString .Values.manila.attach) "true") (and (eq (toString .Values.manila.attach) "auto") (not $inherited)) -}}
true
{{- end -}}
{{- end -}}

{{- /* A sidecar of the controller, by the name of its values; args are more of them than all sidecars have. It ends by itself when it is no longer
       elected. A liveness probe would only restart it while Keystone is away: it answers none before the driver has logged in. */ -}}
{{- define "mooring.sidecar" -}}
{{- $sidecars := .root.Values.manila.sidecars -}}
{{- $values := get $sidecars .name -}}
- name: {{ .name }}
  image: {{ $values.image | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args:
    - --csi-address=/csi/csi.sock
    - --timeout={{ $sidecars.timeout }}
    - --leader-election
    {{- range .args }}
    - {{ . }}
    {{- end }}
  resources:
    {{- $values.resources | default dict | toYaml | nindent 4 }}
  {{- include "mooring.unprivileged" . | nindent 2 }}
  volumeMounts:
    - name: socket
      mountPath: /csi
    - name: kubernetes
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
{{- end -}}

{{- /* A StorageClass: root, values of the class, and parameters that are not the values' own. */ -}}
{{- define "mooring.storageClass" -}}
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: {{ toYaml .values.name }}
  labels:
    {{- include "mooring.labels" . | nindent 4 }}
  {{- if .values.default }}
  annotations:
    storageclass.kubernetes.io/is-default-class: "true"
  {{- end }}
provisioner: {{ toYaml .root.Values.manila.driverName }}
parameters:
  {{- merge (dict "type" .values.type) .parameters (.values.parameters | default dict) | toYaml | nindent 2 }}
{{- with .values.mountOptions }}
mountOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
reclaimPolicy: {{ .values.reclaimPolicy }}
volumeBindingMode: {{ .values.bindingMode }}
allowVolumeExpansion: true
{{- end -}}

{{- /* Fails where two classes are one: of two objects of one name the last would be all that is left, and of two default classes Kubernetes takes
       the one that is younger by chance. A schema can't compare values. */ -}}
{{- define "mooring.classesDiffer" -}}
{{- with .Values.manila.storageClasses -}}
{{- if and .nfs.enabled .cephfs.enabled -}}
{{- if eq .nfs.name .cephfs.name -}}
{{- fail (printf "manila.storageClasses.nfs.name and manila.storageClasses.cephfs.name are both %q: give one of the classes another name" .nfs.name) -}}
{{- end -}}
{{- if and .nfs.default .cephfs.default -}}
{{- fail (printf "manila.storageClasses.nfs.default and manila.storageClasses.cephfs.default are both true: a cluster has one default class, %q or %q" .nfs.name .cephfs.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $i, $class := .Values.manila.volumeAttributesClasses -}}
{{- if hasKey $seen $class.name -}}
{{- fail (printf "manila.volumeAttributesClasses[%d].name and [%v].name are both %q: give one of the classes another name" $i (get $seen $class.name) $class.name) -}}
{{- end -}}
{{- $_ := set $seen $class.name $i -}}
{{- end -}}
{{- end -}}

{{- /* The file that both modes of the driver read at each use, with the root context. */ -}}
{{- define "mooring.runtimeArgs" -}}
{{- if .Values.manila.exportNetwork }}
- --runtime-config-file=/etc/mooring-runtime/config.json
{{- end }}
{{- end -}}

{{- define "mooring.runtimeMount" -}}
{{- if .Values.manila.exportNetwork }}
- name: runtime
  mountPath: /etc/mooring-runtime
  readOnly: true
{{- end }}
{{- end -}}

{{- define "mooring.runtimeVolume" -}}
{{- if .Values.manila.exportNetwork }}
- name: runtime
  configMap:
    name: {{ include "mooring.name" (dict "root" . "component" "manila-runtime") }}
{{- end }}
{{- end -}}
