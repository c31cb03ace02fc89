package capability

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

var errURLSyntax = errors.New("is malformed")

// parseURL reads an absolute http or https URL and refuses every form that two readers could take for two places: user info, dot
// segments, encoded slashes, backslashes, control characters, hosts beyond ASCII.
func parseURL(raw string) (*url.URL, error) {
	for _, c := range raw {
		if c <= ' ' || c == '\\' || c >= 0x7f {
			return nil, fmt.Errorf("has the character %q, which must be escaped", c)
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, which may hold secrets
		}
		return nil, fmt.Errorf("%w: %w", errURLSyntax, err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("must begin with http:// or https://")
	case u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("has user info; use the header Authorization with a secret's handle")
	}
	path := strings.ToLower(u.EscapedPath())
	if strings.Contains(path, "%2f") || strings.Contains(path, "%5c") {
		return nil, errors.New("has an escaped slash in its path")
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return nil, errors.New("has dot segments in its path")
		}
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if isDefault := u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443"; port != "" && !isDefault {
		host += ":" + port
	}
	u.Host = host
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// CheckURLGrant reports what is wrong with an entry of grants.http.
func CheckURLGrant(grant string) error {
	u, err := parseURL(grant)
	if err != nil {
		return err
	}
	if u.RawQuery != "" || u.ForceQuery || strings.Contains(grant, "#") {
		return errors.New("a grant is scheme, host and path: it has no query and no fragment")
	}
	return nil
}

// allowsURL refuses a URL that no grant covers: same scheme, host and port, and the grant's path up to a segment's end.
func (g Grants) allowsURL(u *url.URL) error {
	for _, grant := range g.HTTP {
		if CheckURLGrant(grant) != nil {
			continue
		}
		base, err := parseURL(grant)
		if err == nil && base.Scheme == u.Scheme && base.Host == u.Host && underPath(base.EscapedPath(), u.EscapedPath()) {
			return nil
		}
	}
	return fmt.Errorf("http %s://%s%s is not granted; the grant that is missing is http: [%q]", u.Scheme, u.Host, u.EscapedPath(), u.Scheme+"://"+u.Host+"/")
}

func underPath(base, path string) bool {
	if path == "" {
		path = "/"
	}
	if base == "" || base == "/" || path == base {
		return true
	}
	return strings.HasPrefix(path, strings.TrimSuffix(base, "/")+"/")
}
