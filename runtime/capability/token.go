package capability

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tiercel-project/tiercel/functions/abi"
)

var serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}

// A tokenSource mints tokens for one ServiceAccount by TokenRequest and keeps each until 80 % of its life are over.
type tokenSource struct {
	cluster *Cluster
	account string

	mu    sync.Mutex // held while a token is minted, so that one request serves all who wait
	value string     // guarded by mu
	renew time.Time  // guarded by mu
}

func (t *tokenSource) token(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value != "" && t.cluster.now().Before(t.renew) {
		return t.value, nil
	}
	value, life, err := t.mint(ctx)
	if err != nil {
		return "", err
	}
	t.value, t.renew = value, t.cluster.now().Add(life*8/10)
	return value, nil
}

// drop forgets a token that the API server refused; the next request mints another.
func (t *tokenSource) drop(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value == token {
		t.value = ""
	}
}

func (t *tokenSource) mint(ctx context.Context) (token string, life time.Duration, err error) {
	cfg := t.cluster.cfg
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"metadata": map[string]any{"name": t.account, "namespace": cfg.Namespace},
		"spec":     map[string]any{"expirationSeconds": int64(cfg.TokenTTL / time.Second)},
	}}
	asked := t.cluster.now()
	answer, err := t.cluster.own.on(serviceAccounts, cfg.Namespace).Create(ctx, request, metav1.CreateOptions{}, "token")
	if apierrors.IsNotFound(err) {
		return "", 0, abiErrorf(abi.CodeForbidden, "the function has no ServiceAccount %s/%s in the cluster: %v", cfg.Namespace, t.account, err)
	}
	if err != nil {
		return "", 0, kubeError(fmt.Sprintf("mint a token for ServiceAccount %s/%s", cfg.Namespace, t.account), err)
	}
	token, _, err = unstructured.NestedString(answer.Object, "status", "token")
	if err != nil || token == "" {
		return "", 0, fmt.Errorf("mint a token for ServiceAccount %s/%s: the answer holds none", cfg.Namespace, t.account)
	}
	life = cfg.TokenTTL
	stamp, _, _ := unstructured.NestedString(answer.Object, "status", "expirationTimestamp")
	if expires, err := time.Parse(time.RFC3339, stamp); err == nil {
		life = expires.Sub(asked) // a server may give less than was asked for
	}
	return token, life, nil
}
