// Package kms serves a keyring to kube-apiserver: the KMS v2 service (k8s.io/kms/apis/v2) over gRPC.
//
// The rules are the API server's (k8s.io/apiserver/pkg/server/options/encryptionconfig and …/encrypt/envelope/kmsv2): the
// version is "v2" for ever, the key id of Status is that of Encrypt, health is "ok" as long as keys are held (a plugin that
// reports Barbican's outages takes every API server out of service with it), and what can't be served is an error at once.
package kms
