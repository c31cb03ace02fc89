package capability

import (
	"errors"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
)

func wantDenied(t *testing.T, err error) {
	t.Helper()
	if e, ok := errors.AsType[*abi.Error](err); !ok || e.Code != abi.CodeDenied {
		t.Errorf("got %v, want denied", err)
	}
}

func TestGranted(t *testing.T) {
	g := Grants{Kubernetes: []KubernetesGrant{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "patch"}},
		{APIGroups: []string{"apps"}, Resources: []string{"*/scale"}, Verbs: []string{"*"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}, ResourceNames: []string{"a"}, Namespaces: []string{"shop"}},
	}}
	for name, tt := range map[string]struct {
		a  access
		ok bool
	}{
		"as granted":                      {access{verb: "get", resource: "pods"}, true},
		"another verb":                    {access{verb: "delete", resource: "pods"}, false},
		"another group":                   {access{verb: "get", group: "metrics.k8s.io", resource: "pods"}, false},
		"a subresource is not the object": {access{verb: "get", resource: "pods", subresource: "log"}, false},
		"a subresource of all":            {access{verb: "patch", group: "apps", resource: "deployments", subresource: "scale"}, true},
		"but not their objects":           {access{verb: "patch", group: "apps", resource: "deployments"}, false},
		"a name":                          {access{verb: "get", resource: "configmaps", namespace: "shop", name: "a"}, true},
		"another name":                    {access{verb: "get", resource: "configmaps", namespace: "shop", name: "b"}, false},
		"another namespace":               {access{verb: "get", resource: "configmaps", namespace: "bank", name: "a"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := g.granted(tt.a)
			if (err == nil) != tt.ok {
				t.Errorf("%s: %v", tt.a, err)
			}
			if err != nil {
				wantDenied(t, err)
				if want := "resources: [" + tt.a.path() + "], verbs: [" + tt.a.verb + "]"; !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not name the missing grant %s", err, want)
				}
			}
		})
	}
}

func TestWithin(t *testing.T) {
	s := Scope{Target: bus.Target{Node: "n1", Namespace: "shop", Pod: "web-1", PodUID: "u"}}
	pod := func(verb, ns, name, sub string) access {
		return access{verb: verb, resource: "pods", namespace: ns, name: name, subresource: sub}
	}
	node := func(name string) access { return access{verb: "patch", resource: "nodes", name: name} }
	for name, tt := range map[string]struct {
		a                          access
		namespaced                 bool
		target, namespace, cluster bool
	}{
		"the pod":           {pod("patch", "shop", "web-1", ""), true, true, true, true},
		"a neighbour":       {pod("patch", "shop", "web-2", ""), true, false, true, true},
		"read a neighbour":  {pod("get", "shop", "web-2", ""), true, true, true, true},
		"a neighbour's log": {pod("get", "shop", "web-2", "log"), true, false, true, true},
		"evict a neighbour": {pod("create", "shop", "web-2", "eviction"), true, false, true, true},
		"elsewhere":         {pod("get", "bank", "web-1", ""), true, false, false, true},
		"all namespaces":    {pod("list", "", "", ""), true, false, false, true},
		"the node":          {node("n1"), false, true, true, true},
		"another node":      {node("n2"), false, false, false, true},
		"all nodes":         {access{verb: "list", resource: "nodes"}, false, false, false, true},
		"a cluster role":    {access{verb: "get", group: "rbac.authorization.k8s.io", resource: "clusterroles", name: "n1"}, false, false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			for reach, want := range map[Reach]bool{"": tt.target, ReachTarget: tt.target, ReachNamespace: tt.namespace, ReachCluster: tt.cluster, "galaxy": false} {
				s.Grants.Reach = reach
				if err := s.within(tt.a, tt.namespaced); (err == nil) != want {
					t.Errorf("reach %q: %v", reach, err)
				}
			}
		})
	}
	s.Grants.Reach = ReachTarget
	s.Target = bus.Target{Node: "n1"} // an event of the host
	wantDenied(t, s.within(pod("patch", "", "", ""), true))
}

func TestURLGrants(t *testing.T) {
	g := Grants{HTTP: []string{"https://hooks.slack.com/services/", "http://10.0.0.1:8080", "https://api.example.org/v1/x"}}
	for raw, want := range map[string]bool{
		"https://hooks.slack.com/services/T/B/x":          true,
		"https://HOOKS.slack.com:443/services/T":          true,
		"https://hooks.slack.com/services/":               true,
		"https://hooks.slack.com/services":                false,
		"https://hooks.slack.com/services/../admin":       false,
		"https://hooks.slack.com/services/%2e%2e/admin":   false,
		"https://hooks.slack.com/services/..%2fadmin":     false,
		"https://hooks.slack.com/servicesX":               false,
		"http://hooks.slack.com/services/T":               false,
		"https://hooks.slack.com:444/services/T":          false,
		"https://hooks.slack.com.evil.org/services/T":     false,
		"https://hooks.slack.com@evil.org/services/T":     false,
		"https://hooks.slack.com\\@evil.org/services/T":   false,
		"https://hooks.slack.com%2fservices@evil.org/":    false,
		"https://evil.org/#https://hooks.slack.com/":      false,
		"http://10.0.0.1:8080":                            true,
		"http://10.0.0.1:8080/?q=1#frag":                  true,
		"http://10.0.0.1:80800/":                          false,
		"http://[::ffff:10.0.0.1]:8080/":                  false,
		"https://api.example.org/v1/x":                    true,
		"https://api.example.org/v1/x/y?z":                true,
		"https://api.example.org/v1/xy":                   false,
		"https://api.example.org/v1/x;y":                  false,
		"https://api.example.org./v1/x":                   false,
		"file:///etc/passwd":                              false,
		"//hooks.slack.com/services/":                     false,
		"https:hooks.slack.com/services/":                 false,
		"https://hooks.slack.com/services/\r\nHost: evil": false,
		"": false,
	} {
		u, err := parseURL(raw)
		if err == nil {
			err = g.allowsURL(u)
		}
		if (err == nil) != want {
			t.Errorf("%q: %v, want allowed %v", raw, err, want)
		}
	}
	for _, bad := range []string{"", "hooks.slack.com", "https://", "https://a/?q", "https://a/#f", "https://u:p@a/", "ftp://a/", "https://*/"} {
		if err := CheckURLGrant(bad); err == nil && bad != "https://*/" {
			t.Errorf("grant %q is accepted", bad)
		}
	}
}

// FuzzURLGrant: whatever is allowed begins, as text, with the granted origin and path once it is written out.
func FuzzURLGrant(f *testing.F) {
	for _, s := range []string{"https://a.example/b/c", "https://a.example/b/../c", "https://a.example@b.example/b/", "https://a.example:443/b/%2e%2e/", "https://a.example/b/\\..\\"} {
		f.Add(s)
	}
	g := Grants{HTTP: []string{"https://a.example/b/"}}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := parseURL(raw)
		if (u == nil) == (err == nil) {
			t.Fatalf("url %v, error %v", u, err)
		}
		if err != nil || g.allowsURL(u) != nil {
			return
		}
		if s := u.String(); !strings.HasPrefix(s, "https://a.example/b/") || strings.Contains(u.Path, "/../") {
			t.Errorf("%q is allowed and becomes %q", raw, s)
		}
	})
}

func TestUserAgent(t *testing.T) {
	s := Scope{Function: Function{Name: "f"}, Invocation: "i-1", Depth: 2, Root: "n\r\nX-Evil: 1; depth=9)"}
	want := "tiercel/1.0 (function=f; invocation=i-1; depth=2; root=n__X-Evil:_1__depth_9_)"
	if got := UserAgent("1.0", s); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
