package capability

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// An Identity says as whom functions act on the cluster.
type Identity string

// The identities.
const (
	// ServiceAccount: each function has one of its own, for which the runtime mints short-lived tokens. The default.
	ServiceAccount Identity = "serviceAccount"
	// Impersonate: the kubeconfig's user impersonates that ServiceAccount. No token is minted; the user needs the verb impersonate.
	Impersonate Identity = "impersonate"
)

// ClusterConfig says which cluster to work on and how.
type ClusterConfig struct {
	Kubeconfig string        // file; empty: the ServiceAccount of the pod the runtime is in
	Context    string        // of the kubeconfig; empty: its current one
	Identity   Identity      // default ServiceAccount
	Namespace  string        // of the functions' ServiceAccounts. Default "tiercel"
	Protected  []string      // namespaces nothing is written to. nil: kube-system and Namespace
	Timeout    time.Duration // of one request. Positive. Default 10s
	TokenTTL   time.Duration // life of a minted token, at least 10m. Default 10m
	Version    string        // for the User-Agent
	Logger     *slog.Logger  // nil: discarded
}

func (cfg *ClusterConfig) setDefaults() {
	if cfg.Identity == "" {
		cfg.Identity = ServiceAccount
	}
	if cfg.Namespace == "" {
		cfg.Namespace = "tiercel"
	}
	if cfg.Protected == nil {
		cfg.Protected = []string{metav1.NamespaceSystem, cfg.Namespace}
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	cfg.TokenTTL = max(cfg.TokenTTL, 10*time.Minute)
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
}

// maxActors bounds the clients kept, one for each function that has acted.
const maxActors = 1024

// A Cluster is one Kubernetes API, reached under the runtime's identity to look things up and under a function's to act.
// It is safe for concurrent use.
type Cluster struct {
	cfg       ClusterConfig
	base      *rest.Config
	own       *actor // the runtime itself
	discovery *discovery
	targets   targetCache
	now       func() time.Time

	mu         sync.Mutex
	actors     map[Function]*actor    // guarded by mu
	provisions map[Function]provision // guarded by mu
}

// An actor is a client under one identity.
type actor struct {
	dyn    dynamic.Interface
	rest   *rest.RESTClient
	cfg    *rest.Config // what both are made of
	tokens *tokenSource // nil where the identity needs none
}

// Connect returns a cluster. It reads the kubeconfig but does not talk to the API server.
func Connect(cfg ClusterConfig) (*Cluster, error) {
	cfg.setDefaults()
	base, err := restConfig(cfg)
	if err != nil {
		return nil, err
	}
	return newCluster(cfg, base)
}

func newCluster(cfg ClusterConfig, base *rest.Config) (*Cluster, error) {
	cfg.setDefaults()
	base = rest.CopyConfig(base)
	base.Timeout = cfg.Timeout
	base.QPS = -1 // slots bound how much is asked at once, and the API server's own fairness how fast
	base.WarningHandler = rest.NoWarnings{}
	base.UserAgent = "tiercel/" + cfg.Version
	c := &Cluster{cfg: cfg, base: base, now: time.Now, actors: map[Function]*actor{}}
	var err error
	if c.own, err = newActor(base); err != nil {
		return nil, err
	}
	c.discovery = &discovery{client: c.own.rest, now: time.Now}
	return c, nil
}

func restConfig(cfg ClusterConfig) (*rest.Config, error) {
	if cfg.Kubeconfig == "" {
		rc, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("no kubeconfig given, and not in a pod: %w", err)
		}
		return rc, nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: cfg.Kubeconfig}
	over := &clientcmd.ConfigOverrides{CurrentContext: cfg.Context}
	rc, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, over).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", cfg.Kubeconfig, err)
	}
	return rc, nil
}

// RESTConfig returns a copy of the runtime's own configuration, for informers and the like.
func (c *Cluster) RESTConfig() *rest.Config { return rest.CopyConfig(c.base) }

// codecs decode what the API server says about itself and its errors; everything else stays unstructured.
var codecs = func() serializer.CodecFactory {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	return serializer.NewCodecFactory(s)
}()

func newActor(cfg *rest.Config) (*actor, error) {
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	dyn, err := dynamic.NewForConfigAndClient(cfg, client)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	raw := rest.CopyConfig(cfg)
	raw.NegotiatedSerializer = codecs.WithoutConversion()
	rc, err := rest.UnversionedRESTClientForConfigAndClient(raw, client)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	return &actor{dyn: dyn, rest: rc, cfg: cfg}, nil
}

// on returns the resource as the actor sees it.
func (a *actor) on(gvr schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return a.dyn.Resource(gvr)
	}
	return a.dyn.Resource(gvr).Namespace(namespace)
}

// as returns the client that acts for a function.
func (c *Cluster) as(f Function) (*actor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, ok := c.actors[f]; ok {
		return a, nil
	}
	a, err := c.newFunctionActor(f)
	if err != nil {
		return nil, err
	}
	if len(c.actors) >= maxActors {
		clear(c.actors)
	}
	c.actors[f] = a
	return a, nil
}

func (c *Cluster) newFunctionActor(f Function) (*actor, error) {
	if c.cfg.Identity == Impersonate {
		cfg := rest.CopyConfig(c.base)
		cfg.Impersonate = rest.ImpersonationConfig{
			UserName: "system:serviceaccount:" + c.cfg.Namespace + ":" + f.ServiceAccount(),
			Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + c.cfg.Namespace, "system:authenticated"},
		}
		cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return &transport{next: rt} })
		return newActor(cfg)
	}
	tokens := &tokenSource{cluster: c, account: f.ServiceAccount()}
	cfg := rest.AnonymousClientConfig(c.base) // nothing of the runtime's own credentials goes along
	cfg.Timeout, cfg.QPS, cfg.WarningHandler, cfg.UserAgent = c.base.Timeout, c.base.QPS, c.base.WarningHandler, c.base.UserAgent
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return &transport{next: rt, tokens: tokens} })
	a, err := newActor(cfg)
	if err != nil {
		return nil, err
	}
	a.tokens = tokens
	return a, nil
}

// transport puts the invocation into the User-Agent, and the function's token into the request.
type transport struct {
	next   http.RoundTripper
	tokens *tokenSource // may be nil
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if ua, ok := req.Context().Value(userAgentKey{}).(string); ok {
		req.Header.Set("User-Agent", ua)
	}
	if t.tokens == nil {
		return t.next.RoundTrip(req)
	}
	token, err := t.tokens.token(req.Context())
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := t.next.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		t.tokens.drop(token)
	}
	return resp, err
}

type userAgentKey struct{}

// session returns the client for the scope's function and a context in which its requests say whose they are.
func (c *Cluster) session(ctx context.Context, s Scope) (context.Context, *actor, error) {
	a, err := c.as(s.Function)
	if err != nil {
		return nil, nil, err
	}
	return context.WithValue(ctx, userAgentKey{}, UserAgent(c.cfg.Version, s)), a, nil
}

// UserAgent is how an invocation's requests introduce themselves, so that the audit log shows the chain an action belongs to and the
// audit source can restore depth and root from it: "tiercel/1.0 (function=isolate-pod; invocation=…; depth=1; root=node-01J…)".
func UserAgent(version string, s Scope) string {
	return fmt.Sprintf("tiercel/%s (function=%s; invocation=%s; depth=%d; root=%s)",
		plain(version), plain(s.Function.Name), plain(s.Invocation), s.Depth, plain(s.Root))
}

// plain keeps what cannot end a field of the User-Agent; ids come from events, and so from outside.
func plain(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '.', c == '-', c == '_', c == '/', c == ':', c == '+':
		default:
			b[i] = '_'
		}
	}
	return string(b[:min(len(b), 200)])
}
