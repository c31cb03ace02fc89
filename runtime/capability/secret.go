package capability

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// Secrets finds the values that guests only hold handles of. An absent secret is an *abi.Error with CodeNotFound.
type Secrets interface {
	// Secret returns a value. An empty key means the only one the secret has.
	Secret(ctx context.Context, name, key string) (string, error)
}

// maxSecret bounds the bytes of one value.
const maxSecret = 64 << 10

// FileSecrets are the secrets of a directory: DIR/NAME is a file with the value, or a directory with a file for each key, as Kubernetes
// mounts a Secret. One newline at the end of a file is not part of the value.
type FileSecrets string

// Secret reads the file anew each time, so that a rotated secret is used at once.
func (dir FileSecrets) Secret(_ context.Context, name, key string) (string, error) {
	if err := checkSecretName(name, key); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(string(dir))
	if err != nil {
		return "", fmt.Errorf("open secrets: %w", err)
	}
	defer root.Close()
	path := name
	if info, err := root.Stat(name); err == nil && info.IsDir() {
		if key == "" {
			if key, err = onlyFile(root, name); err != nil {
				return "", err
			}
		}
		path = filepath.Join(name, key)
	} else if key != "" {
		return "", abiErrorf(abi.CodeNotFound, "secret %q has no keys", name)
	}
	value, err := root.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", abiErrorf(abi.CodeNotFound, "there is no secret %q", secretTitle(name, key))
	}
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if len(value) > maxSecret {
		return "", abiErrorf(abi.CodeTooLarge, "secret %q has more than %d bytes", secretTitle(name, key), maxSecret)
	}
	return string(bytes.TrimSuffix(value, []byte("\n"))), nil
}

func onlyFile(root *os.Root, name string) (string, error) {
	d, err := root.Open(name)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	defer d.Close()
	all, err := d.Readdirnames(-1)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	keys := slices.DeleteFunc(all, func(n string) bool { return strings.HasPrefix(n, ".") }) // "..data" of a mounted Secret
	if len(keys) != 1 {
		return "", invalid("secret %q has %d keys: say which", name, len(keys))
	}
	return keys[0], nil
}

// ClusterSecrets are the Secrets of one namespace of a cluster, read under the runtime's own identity.
type ClusterSecrets struct {
	Cluster   *Cluster
	Namespace string // default: that of the functions' ServiceAccounts
}

// Secret reads the Secret anew each time.
func (cs ClusterSecrets) Secret(ctx context.Context, name, key string) (string, error) {
	if err := checkSecretName(name, key); err != nil {
		return "", err
	}
	ns := cs.Namespace
	if ns == "" {
		ns = cs.Cluster.cfg.Namespace
	}
	u, err := cs.Cluster.own.on(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", kubeError(fmt.Sprintf("read secret %s/%s", ns, name), err)
	}
	data, _, err := unstructured.NestedStringMap(u.Object, "data")
	if err != nil {
		return "", fmt.Errorf("read secret %s/%s: %w", ns, name, err)
	}
	if key == "" {
		if len(data) != 1 {
			return "", invalid("secret %q has %d keys: say which", name, len(data))
		}
		for key = range data {
		}
	}
	encoded, ok := data[key]
	if !ok {
		return "", abiErrorf(abi.CodeNotFound, "there is no secret %q", secretTitle(name, key))
	}
	value, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", fmt.Errorf("read secret %s/%s: %w", ns, name, err)
	}
	return string(value), nil
}

// SecretsInOrder asks each in turn for a secret that the one before does not have.
type SecretsInOrder []Secrets

// Secret returns the first one's answer that is not CodeNotFound.
func (all SecretsInOrder) Secret(ctx context.Context, name, key string) (string, error) {
	err := error(abiErrorf(abi.CodeNotFound, "there is no secret %q", secretTitle(name, key)))
	for _, s := range all {
		var value string
		if value, err = s.Secret(ctx, name, key); err == nil {
			return value, nil
		}
		if e, ok := errors.AsType[*abi.Error](err); !ok || e.Code != abi.CodeNotFound {
			return "", err
		}
	}
	return "", err
}

var secretName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}$`)

func checkSecretName(name, key string) error {
	if !secretName.MatchString(name) || key != "" && !secretName.MatchString(key) {
		return invalid("%q is not a secret's name", secretTitle(name, key))
	}
	return nil
}

// CheckSecretName reports what is wrong with an entry of a document's secrets.
func CheckSecretName(name string) error { return checkSecretName(name, "") }

func secretTitle(name, key string) string {
	if key == "" {
		return name
	}
	return name + "/" + key
}

// A handle stands for a secret within one invocation: "tiercel-secret-<name and key>-<mark>". The mark ties it to the invocation,
// whose id an attacker who writes into events cannot know, so that a handle in an event's text stands for nothing.
const handlePrefix = "tiercel-secret-"

var handleCoding = base32.HexEncoding.WithPadding(base32.NoPadding)

func handle(s Scope, name, key string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{s.Invocation, s.Function.UID, name, key}, "\x00")))
	return handlePrefix + strings.ToLower(handleCoding.EncodeToString([]byte(name+"/"+key))) + "-" + hex.EncodeToString(sum[:12])
}

var handlePattern = regexp.MustCompile(handlePrefix + `([0-9a-v]+)-[0-9a-f]{24}`)

// fill replaces the handles in text by their values and appends those to used. Names that are not granted (any more) are refused.
func fill(ctx context.Context, s Scope, from Secrets, in string, used *[]string) (string, error) {
	var failed error
	out := handlePattern.ReplaceAllStringFunc(in, func(h string) string {
		coded := handlePattern.FindStringSubmatch(h)[1]
		title, err := handleCoding.DecodeString(strings.ToUpper(coded))
		name, key, _ := strings.Cut(string(title), "/")
		if err != nil || h != handle(s, name, key) {
			return h // not a handle of this invocation: text like any other
		}
		value, err := lookUp(ctx, s, from, name, key)
		if err != nil {
			failed = errors.Join(failed, err)
			return ""
		}
		*used = append(*used, value)
		return value
	})
	return out, failed
}

func lookUp(ctx context.Context, s Scope, from Secrets, name, key string) (string, error) {
	if !slices.Contains(s.Grants.Secrets, name) {
		return "", denied("secret %q is not granted; the document's secrets: must list it", name)
	}
	if from == nil {
		return "", abiErrorf(abi.CodeUnsupported, "this runtime has no secrets configured")
	}
	return from.Secret(ctx, name, key)
}

// secretOp is the operation secret.
type secretOp struct{ from Secrets }

// Prepare makes sure that the secret is granted and there.
func (o *secretOp) Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.SecretRequest
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	if _, err := lookUp(ctx, s, o.from, q.Name, q.Key); err != nil {
		return nil, err
	}
	return &Prepared{Canonical: mustJSON(q), Summary: "secret " + secretTitle(q.Name, q.Key)}, nil
}

// Execute answers the handle.
func (o *secretOp) Execute(_ context.Context, s Scope, p *Prepared, _ string) (Result, error) {
	var q abi.SecretRequest
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	return Result{Response: mustJSON(abi.SecretResponse{Handle: handle(s, q.Name, q.Key)})}, nil
}

// Look is not asked of reads.
func (o *secretOp) Look(context.Context, Scope, *Prepared, string) (bool, Result, error) {
	return false, Result{}, errNotAWrite
}
