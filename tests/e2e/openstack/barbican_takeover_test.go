package openstack_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	kmsapi "k8s.io/kms/apis/v2"

	"mooring/tests/peer/process"
)

// oldFormat is the format of cloud-provider-openstack's plugin, written without our code: IV ‖ AES-CBC(data ‖ PKCS #7).
type oldFormat struct{ block cipher.Block }

func (f oldFormat) seal(t *testing.T, dek []byte) []byte {
	t.Helper()
	iv := make([]byte, aes.BlockSize)
	if _, err := rand.Read(iv); err != nil {
		t.Fatal(err)
	}
	out := slices.Concat(dek, bytes.Repeat([]byte{aes.BlockSize}, aes.BlockSize))
	cipher.NewCBCEncrypter(f.block, iv).CryptBlocks(out, out)
	return slices.Concat(iv, out)
}

func (f oldFormat) open(t *testing.T, sealed []byte) []byte {
	t.Helper()
	out := bytes.Clone(sealed[aes.BlockSize:])
	cipher.NewCBCDecrypter(f.block, sealed[:aes.BlockSize]).CryptBlocks(out, out)
	return out[:len(out)-int(out[len(out)-1])]
}

// TestKMSTakeover starts the plugin with a configuration of cloud-provider-openstack and a key of a real Barbican: in that
// plugin's format first, then in its own with the same secret.
func TestKMSTakeover(t *testing.T) {
	t.Parallel()
	for _, tenant := range []string{"demo", "hsm"} {
		t.Run(tenant, func(t *testing.T) {
			t.Parallel()
			v := openVault(t, tenant)
			dir := t.TempDir()
			program, socket, conf := mooringProgram(t, dir), filepath.Join(dir, "kms.sock"), filepath.Join(dir, "cloud.conf")
			key, hush := v.key(t)
			cred := v.cloud.Credential(t, tenant)
			text := fmt.Sprintf("[Global]\nauth-url = %q\nusername = %q\npassword = %q\ntenant-name = %q\ndomain-name = %q\nregion = %q\n\n[KeyManager]\nkey-id = %q\n",
				cred.AuthURL, cred.Username, cred.Password, cred.ProjectName, cred.UserDomainName, cred.Region, key)
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			client := kmsapi.NewKeyManagementServiceClient(conn)
			run := func(keyID string, args ...string) (stop func()) {
				p, err := process.Start(t.Context(), "barbican-kms", program, nil, append([]string{"barbican-kms", "--socketpath", socket, "--cloud-config", conf}, args...)...)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					for _, secret := range append(hush, cred.Password) {
						if strings.Contains(p.Output(), secret) {
							t.Error("the plugin has logged a secret")
						}
					}
					if t.Failed() {
						t.Logf("the plugin said:\n%s", p.Output())
					}
				})
				awaitKey(t, client, keyID)
				return func() {
					if code, err := p.Stop(15 * time.Second); err != nil || code != 0 {
						t.Errorf("the plugin ended with %d, %v", code, err)
					}
				}
			}
			block, err := aes.NewCipher([]byte(hush[0]))
			if err != nil {
				t.Fatal(err)
			}
			old, dek := oldFormat{block}, make([]byte, 32)
			if _, err := rand.Read(dek); err != nil {
				t.Fatal(err)
			}
			theirs := old.seal(t, dek)
			reads := func(ciphertext []byte, keyID string) {
				t.Helper()
				got, err := client.Decrypt(t.Context(), &kmsapi.DecryptRequest{Uid: "e2e", KeyId: keyID, Ciphertext: ciphertext}, grpc.WaitForReady(true))
				if err != nil || !bytes.Equal(got.GetPlaintext(), dek) {
					t.Fatalf("unwrapped %d bytes of %s, %v", len(got.GetPlaintext()), keyID, err)
				}
			}

			stop := run(key, "--compat-write")
			reads(theirs, key)
			ours, err := client.Encrypt(t.Context(), &kmsapi.EncryptRequest{Uid: "e2e", Plaintext: dek})
			if err != nil || ours.GetKeyId() != key || len(ours.GetCiphertext()) != 64 || !bytes.Equal(old.open(t, ours.GetCiphertext()), dek) {
				t.Fatalf("in compat-write: key id %q, %d bytes, %v", ours.GetKeyId(), len(ours.GetCiphertext()), err)
			}
			stop()

			active := "barbican:v1:" + key + ":1"
			stop = run(active, "--key-id", key, "--cluster-id", "e2e")
			defer stop()
			reads(theirs, key)
			reads(ours.GetCiphertext(), key)
			own, err := client.Encrypt(t.Context(), &kmsapi.EncryptRequest{Uid: "e2e", Plaintext: dek})
			if err != nil || own.GetKeyId() != active || len(own.GetCiphertext()) != 94 {
				t.Fatalf("active: key id %q, %d bytes, %v", own.GetKeyId(), len(own.GetCiphertext()), err)
			}
			reads(own.GetCiphertext(), active)
		})
	}
}
