package capability

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// web is the operation http against a server of the test's own.
type web struct {
	t     *testing.T
	r     *Registry
	scope Scope
	url   string
	asked int
}

func newWeb(t *testing.T, secrets Secrets, h http.HandlerFunc) *web {
	t.Helper()
	w := &web{t: t}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.asked++; h(rw, r) }))
	t.Cleanup(server.Close)
	r, err := New(Config{Secrets: secrets, HTTP: HTTPConfig{Timeout: 8 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	w.r, w.url = r, server.URL
	w.scope = Scope{
		Mode: Enforce, Invocation: "inv", Function: Function{Name: "f", UID: "u"},
		Grants: Grants{HTTP: []string{server.URL + "/ok/"}, Secrets: []string{"hook", "token"}},
	}
	return w
}

func (w *web) do(q abi.HTTPRequest) (abi.HTTPResponse, *Prepared, error) {
	w.t.Helper()
	p, err := w.r.Prepare(w.t.Context(), w.scope, abi.OpHTTP, mustJSON(q))
	if err != nil {
		return abi.HTTPResponse{}, nil, err
	}
	res, err := w.r.Execute(w.t.Context(), w.scope, p, "e1")
	if err != nil {
		return abi.HTTPResponse{}, p, err
	}
	var a abi.HTTPResponse
	if err := json.Unmarshal(res.Response, &a); err != nil {
		w.t.Fatal(err)
	}
	return a, p, nil
}

func TestHTTP(t *testing.T) {
	w := newWeb(t, nil, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("Set-Cookie", "session=1")
		rw.Header().Set("Content-Type", "text/plain")
		rw.WriteHeader(http.StatusCreated)
		_, _ = rw.Write([]byte(r.Method + " " + r.Header.Get("X-Team") + " " + string(body) + " \xff"))
	})
	a, p, err := w.do(abi.HTTPRequest{Method: "POST", URL: w.url + "/ok/x", Headers: map[string]string{"X-Team": "blue"}, Body: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != 201 || a.Body != "POST blue hello \uFFFD" || len(a.Headers) != 1 || a.Headers["content-type"] != "text/plain" {
		t.Errorf("answer %+v", a)
	}
	if !p.Write || p.Class != Unconditional || p.Inverse.Reversible() {
		t.Errorf("prepared %+v", p)
	}
	if _, _, err := w.r.Look(t.Context(), w.scope, p, "e1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("look: %v", err)
	}
	w.scope.Mode = DryRun
	if a, _, err := w.do(abi.HTTPRequest{Method: "POST", URL: w.url + "/ok/x"}); err != nil || !a.DryRun || w.asked != 1 {
		t.Errorf("rehearsed: %+v, %v, %d requests", a, err, w.asked)
	}
	if a, p, err := w.do(abi.HTTPRequest{Method: "GET", URL: w.url + "/ok/x"}); err != nil || a.DryRun || p.Write || w.asked != 2 {
		t.Errorf("a read in a rehearsal: %+v, %v, %d requests", a, err, w.asked)
	}
}

func TestHTTPRefused(t *testing.T) {
	w := newWeb(t, nil, func(http.ResponseWriter, *http.Request) {})
	for name, tt := range map[string]struct {
		q    abi.HTTPRequest
		code abi.Code
	}{
		"not granted":     {abi.HTTPRequest{Method: "GET", URL: w.url + "/other"}, abi.CodeDenied},
		"method":          {abi.HTTPRequest{Method: "CONNECT", URL: w.url + "/ok/"}, abi.CodeInvalid},
		"lower case":      {abi.HTTPRequest{Method: "get", URL: w.url + "/ok/"}, abi.CodeInvalid},
		"host header":     {abi.HTTPRequest{Method: "GET", URL: w.url + "/ok/", Headers: map[string]string{"hOST": "evil"}}, abi.CodeInvalid},
		"header smuggled": {abi.HTTPRequest{Method: "GET", URL: w.url + "/ok/", Headers: map[string]string{"A": "b\r\nC: d"}}, abi.CodeInvalid},
		"no URL":          {abi.HTTPRequest{Method: "GET", URL: "nonsense"}, abi.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := w.do(tt.q)
			if e, ok := errors.AsType[*abi.Error](err); !ok || e.Code != tt.code {
				t.Errorf("got %v, want %s", err, tt.code)
			}
		})
	}
	for _, request := range []string{`{"method": "GET", "uri": ""}`, `{"Method": "GET"}`, `{"method": "GET", "method": "POST"}`, `[]`, `{`} {
		if _, err := w.r.Prepare(t.Context(), w.scope, abi.OpHTTP, []byte(request)); err == nil {
			t.Errorf("request %s is accepted", request)
		}
	}
	if w.asked != 0 {
		t.Errorf("%d requests were sent", w.asked)
	}
}

func TestHTTPTransient(t *testing.T) {
	status, header := 0, ""
	w := newWeb(t, nil, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Retry-After", header)
		rw.WriteHeader(status)
	})
	for _, tt := range []struct {
		method    string
		status    int
		onUnknown string
		transient bool
	}{
		{"POST", 429, "", true},
		{"POST", 503, "", true},
		{"POST", 500, "", false},
		{"POST", 502, "repeat", true},
		{"GET", 502, "", true},
		{"GET", 404, "", false},
		{"POST", 403, "repeat", false},
	} {
		status, header, w.scope.Grants.OnUnknown = tt.status, "7", tt.onUnknown
		_, _, err := w.do(abi.HTTPRequest{Method: tt.method, URL: w.url + "/ok/"})
		after, ok := Transient(err)
		if ok != tt.transient || !ok && err != nil || ok && after != 7*time.Second {
			t.Errorf("%s %d: %v after %s", tt.method, tt.status, err, after)
		}
	}
}

func TestHTTPNobodyThere(t *testing.T) {
	w := newWeb(t, nil, func(rw http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			panic(err)
		}
		conn.Close() // the request was read, the answer is missing
	})
	_, _, err := w.do(abi.HTTPRequest{Method: "POST", URL: w.url + "/ok/"})
	if e, ok := errors.AsType[*abi.Error](err); !ok || e.Code != abi.CodeTimeout || !strings.Contains(e.Text, "unknown") {
		t.Errorf("a write without an answer: %v", err)
	}
	if _, _, err := w.do(abi.HTTPRequest{Method: "GET", URL: w.url + "/ok/"}); err == nil {
		t.Error("a read without an answer succeeded")
	} else if _, ok := Transient(err); !ok {
		t.Errorf("a read without an answer: %v", err)
	}
	w.scope.Grants.HTTP = []string{"http://127.0.0.1:1/"} // nobody listens on tcpmux
	_, _, err = w.do(abi.HTTPRequest{Method: "POST", URL: "http://127.0.0.1:1/"})
	if _, ok := Transient(err); !ok {
		t.Errorf("a write that was never sent: %v", err)
	}
}

func TestHTTPRedirects(t *testing.T) {
	var other *httptest.Server
	reached := false
	other = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer other.Close()
	w := newWeb(t, nil, func(rw http.ResponseWriter, r *http.Request) {
		to := map[string]string{"/ok/in": "/ok/end", "/ok/out": "/secret", "/ok/away": other.URL + "/ok/", "/ok/loop": "/ok/loop"}[r.URL.Path]
		if to != "" {
			http.Redirect(rw, r, to, http.StatusFound)
			return
		}
		_, _ = rw.Write([]byte(r.URL.Path))
	})
	w.scope.Grants.HTTP = append(w.scope.Grants.HTTP, other.URL+"/")
	for path, want := range map[string]int{"in": 200, "out": 302, "away": 302} {
		a, _, err := w.do(abi.HTTPRequest{Method: "GET", URL: w.url + "/ok/" + path})
		if err != nil || a.Status != want || want == 200 && a.Body != "/ok/end" || want == 302 && a.Headers["location"] == "" {
			t.Errorf("%s: %+v, %v", path, a, err)
		}
	}
	if a, _, err := w.do(abi.HTTPRequest{Method: "POST", URL: w.url + "/ok/in"}); err != nil || a.Status != 302 {
		t.Errorf("a write was redirected: %+v, %v", a, err)
	}
	if _, _, err := w.do(abi.HTTPRequest{Method: "GET", URL: w.url + "/ok/loop"}); err == nil {
		t.Error("an endless redirect ended well")
	}
	if reached {
		t.Error("another origin was asked")
	}
}

func TestHTTPBodyIsBounded(t *testing.T) {
	w := newWeb(t, nil, func(rw http.ResponseWriter, r *http.Request) { _, _ = rw.Write(bytes.Repeat([]byte("x"), 3<<20)) })
	a, _, err := w.do(abi.HTTPRequest{Method: "GET", URL: w.url + "/ok/"})
	if err != nil || len(a.Body) != maxBody || !a.Truncated {
		t.Errorf("%d bytes, truncated %v, %v", len(a.Body), a.Truncated, err)
	}
}

func TestHTTPProxyIsIgnored(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	o, err := newHTTP(HTTPConfig{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.cfg.Transport.(*http.Transport).Proxy != nil {
		t.Error("the transport asks the environment for a proxy")
	}
}

func TestSecretsInHTTP(t *testing.T) {
	dir := t.TempDir()
	var got *http.Request
	var body string
	w := newWeb(t, FileSecrets(dir), func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
		_, _ = rw.Write([]byte("you said " + r.Header.Get("Authorization") + " at " + r.URL.Path))
	})
	write := func(name, value string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("hook", w.url+"/ok/T0/B0/hunter2hunter2\n")
	write("token", "s3cr3t-v4lue")
	write("other", "not granted")
	ask := func(name string) (string, error) {
		p, err := w.r.Prepare(t.Context(), w.scope, abi.OpSecret, mustJSON(abi.SecretRequest{Name: name}))
		if err != nil {
			return "", err
		}
		res, err := w.r.Execute(t.Context(), w.scope, p, "")
		var a abi.SecretResponse
		_ = json.Unmarshal(res.Response, &a)
		return a.Handle, err
	}
	hook, err := ask("hook")
	if err != nil {
		t.Fatal(err)
	}
	token, err := ask("token")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Trim(hook+token, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		t.Errorf("handles %q and %q have other characters than letters, digits and -", hook, token)
	}
	a, p, err := w.do(abi.HTTPRequest{Method: "POST", URL: hook, Headers: map[string]string{"Authorization": "Bearer " + token}, Body: "text " + token})
	if err != nil {
		t.Fatal(err)
	}
	if got.URL.Path != "/ok/T0/B0/hunter2hunter2" || got.Header.Get("Authorization") != "Bearer s3cr3t-v4lue" {
		t.Errorf("sent %s, %s", got.URL, got.Header)
	}
	if body != "text "+token {
		t.Errorf("the handle was filled in in the body: %q", body)
	}
	for what, text := range map[string]string{"answer": a.Body, "canonical request": string(p.Canonical), "summary": p.Summary} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "s3cr3t") {
			t.Errorf("%s holds a secret: %s", what, text)
		}
	}

	_, err = ask("other")
	wantDenied(t, err)
	w.scope.Invocation = "another"
	if _, _, err := w.do(abi.HTTPRequest{Method: "POST", URL: hook}); err == nil {
		t.Error("a handle of another invocation was filled in")
	}
	w.scope.Invocation, w.scope.Grants.Secrets = "inv", nil
	_, _, err = w.do(abi.HTTPRequest{Method: "POST", URL: hook})
	wantDenied(t, err)
	w.scope.Grants.Secrets, w.scope.Grants.HTTP = []string{"hook"}, []string{"https://example.org/"}
	_, _, err = w.do(abi.HTTPRequest{Method: "POST", URL: hook})
	wantDenied(t, err)
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the refusal tells the secret: %v", err)
	}
}

func TestFileSecrets(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	for path, value := range map[string]string{"plain": "a\n", "two/x": "1", "two/y": "2", "one/only": "3"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for q, want := range map[[2]string]string{
		{"plain", ""}: "a", {"two", "y"}: "2", {"one", ""}: "3", {"two", ""}: "", {"none", ""}: "", {"plain", "k"}: "",
		{"../" + filepath.Base(filepath.Dir(outside)), ""}: "", {"two", "../plain"}: "", {"link", ""}: "", {"", ""}: "",
	} {
		got, err := FileSecrets(dir).Secret(context.Background(), q[0], q[1])
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%v: %q, %v; want %q", q, got, err, want)
		}
	}
	both := SecretsInOrder{FileSecrets(t.TempDir()), FileSecrets(dir)}
	if got, err := both.Secret(context.Background(), "plain", ""); got != "a" || err != nil {
		t.Errorf("from the second: %q, %v", got, err)
	}
}

func TestWithoutSecrets(t *testing.T) {
	secret := `p&ss "word"/1`
	text := "raw " + secret + " query " + url.QueryEscape(secret) + " path " + url.PathEscape(secret) + ` json p\u0026ss \"word\"/1`
	if got := withoutSecrets(text, []string{secret}); strings.Contains(got, "word") {
		t.Errorf("left over: %s", got)
	}
}

// A URL is parsed before it is used, and then is not what the secret was: host and scheme are in lower case, the default port is gone.
func TestSecretsInURLErrors(t *testing.T) {
	dir := t.TempDir()
	for name, value := range map[string]string{
		"hook":  "HTTPS://127.0.0.1:443/workflows/abcdefgh/invoke?api-version=1&sig=TOPsecretSIG",
		"token": "GHP-Abcd/EfGhIjKl",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := New(Config{Secrets: FileSecrets(dir), HTTP: HTTPConfig{Transport: away{}}})
	if err != nil {
		t.Fatal(err)
	}
	s := Scope{
		Mode: Enforce, Invocation: "inv", Function: Function{Name: "f", UID: "u"},
		Grants: Grants{HTTP: []string{"https://127.0.0.1/workflows/", "https://example.org/"}, Secrets: []string{"hook", "token"}},
	}
	w := &web{t: t, r: r, scope: s}
	hook, token := handle(s, "hook", ""), handle(s, "token", "")
	for name, tt := range map[string]struct{ method, url, want string }{
		"token as the host": {"POST", "https://" + token, "http https://" + token + " is not granted once"},
		"token as the port": {"POST", "https://example.org:" + token, "url https://example.org:" + token + ": is malformed"},
		"no scheme":         {"POST", token, "must begin with http"},
		"server is away":    {"POST", hook, "POST " + hook + ": dial tcp"},
		"away for a read":   {"GET", hook + "&a=" + token, "GET " + hook + "&a=" + token + ": dial tcp"},
		"answer is missing": {"POST", hook + "&unanswered", "whether the request was acted upon is unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := w.do(abi.HTTPRequest{Method: tt.method, URL: tt.url})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			for _, secret := range []string{"abcd", "efgh", "topsecret"} {
				if strings.Contains(strings.ToLower(err.Error()), secret) {
					t.Errorf("tells a secret: %v", err)
				}
			}
		})
	}
}

// away is a network without servers; one takes requests and does not answer.
type away struct{}

func (away) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.RawQuery, "unanswered") {
		return nil, fmt.Errorf("no answer from %s", r.URL.RequestURI())
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

func TestWithoutURLs(t *testing.T) {
	secret := `HTTPS://Hooks.example:443/workflows/abc%20def/x"y?api-version=1&sig=TOP%2BsecretSIG`
	u, err := parseURL(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{secret, u.String(), u.RequestURI(), u.Path, u.EscapedPath(), u.RawQuery, u.Query().Get("sig")} {
		if got := withoutSecrets("at "+form+" it is", []string{"workflows", secret}); got != "at [redacted] it is" {
			t.Errorf("of %s is left %s", form, got)
		}
	}
	path := `abc/x"y`
	if got := withoutSecrets("/"+(&url.URL{Path: path}).EscapedPath(), []string{path}); got != "/[redacted]" {
		t.Errorf("of a piece of a path is left %s", got)
	}
	if text := "https://example.org/ and /"; withoutSecrets(text, []string{"https://example.org/x"}) != text {
		t.Error("a URL without a secret part blanks others")
	}
}
