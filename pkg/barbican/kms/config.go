package kms

import (
	"fmt"
	"strings"
)

// encryptionConfiguration is for Secrets; the first provider writes, and the last one reads what was written in clear before.
const encryptionConfiguration = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources:
      - secrets
    providers:
      - kms:
          apiVersion: v2
          name: %s
          endpoint: %q
          timeout: 3s
      - identity: {}
`

// EncryptionConfiguration is the configuration of a kube-apiserver that encrypts Secrets with the plugin at endpoint
// (https://kubernetes.io/docs/tasks/administer-cluster/kms-provider/), in YAML. The provider's name comes from the cluster's: it
// stands before every object in etcd, and must not change.
func EncryptionConfiguration(cluster, endpoint string) string {
	return fmt.Sprintf(encryptionConfiguration, ProviderName(cluster), endpoint)
}

// ProviderName is a name for a provider in the EncryptionConfiguration: letters, digits, dots and dashes, 63 at most.
func ProviderName(cluster string) string {
	name := "mooring-" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '-'
		}
	}, cluster)
	const longest = 63
	return strings.TrimRight(name[:min(len(name), longest)], "-.")
}
