package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// Options say what Read takes for known. The zero Options know the sources syscall and k8s_audit.
type Options struct {
	// Sources are the known event sources; rules of others are skipped with a warning. Nil: syscall and k8s_audit.
	Sources []string
	// FieldError says why a source has no such field; nil if it has. It is asked for the fields of exceptions only.
	FieldError func(source, text string) error
}

// EngineVersion is the version of Falco's rules engine whose language this is.
const EngineVersion = "0.63.0"

// presentPlugins are Falco's plugins whose sources and fields are built in. Any version of them counts as present.
var presentPlugins = []string{"container", "k8saudit", "json"}

// Read reads rules files in order and returns what they define; lists, macros and rules accumulate. A file that cannot be read on leaves
// its errors in the Report; the Collection then holds the rest.
func Read(files []File, opts Options) (*Collection, *Report) {
	if opts.Sources == nil {
		opts.Sources = []string{"syscall", "k8s_audit"}
	}
	c := newCollection()
	rep := &Report{}
	docs, errs := parseAll(files)
	for i, f := range files {
		r := &reader{src: newSource(f, i), col: c, res: &FileResult{Name: f.Name}, opts: opts}
		rep.Files = append(rep.Files, r.res)
		r.readFile(docs[i], errs[i])
	}
	c.report = rep
	return c, rep
}

// parseAll parses the YAML of files, side by side: that is most of the time that loading takes.
func parseAll(files []File) (docs [][]*yaml.Node, errs []error) {
	docs, errs = make([][]*yaml.Node, len(files)), make([]error, len(files))
	var wg sync.WaitGroup
	for i := range files {
		wg.Go(func() { docs[i], errs[i] = parseDocuments(files[i].Data) })
	}
	wg.Wait()
	return docs, errs
}

// parseDocuments parses the YAML documents in data.
func parseDocuments(data []byte) (docs []*yaml.Node, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			return docs, nil
		} else if err != nil {
			return nil, err
		}
		docs = append(docs, &doc)
	}
}

// A reader reads one rules file into a Collection.
type reader struct {
	src  *source
	col  *Collection
	res  *FileResult
	opts Options
	root *scope
}

func (r *reader) warn(p *Problem) { r.res.Warnings = append(r.res.Warnings, p) }
func (r *reader) fail(p *Problem) { r.res.Errors = append(r.res.Errors, p) }

// readFile reads the documents of the file, or reports err, why it is no YAML: as in Falco nothing of such a file counts.
func (r *reader) readFile(docs []*yaml.Node, err error) {
	r.root = &scope{itemType: "rules content", at: place{r.src, 0}, whole: true}
	if err != nil {
		r.fail(r.syntaxError(err))
		return
	}
	r.checkSchema(docs)
	for _, doc := range docs {
		if len(doc.Content) > 0 {
			r.readDocument(deref(doc.Content[0]))
		}
	}
}

func (r *reader) readDocument(n *yaml.Node) {
	switch {
	case n.Kind == yaml.ScalarNode && isNull(n):
	case n.Kind == yaml.ScalarNode:
		r.fail(r.root.problem(ErrYAMLValidate, r.src.place(n), tokenLen(n.Value), "Rules content is not yaml", "a rules file is a list of rules, macros and lists, each beginning with a dash"))
	case n.Kind != yaml.SequenceNode:
		r.fail(r.root.problem(ErrYAMLValidate, r.src.place(n), 1, "Rules content is not yaml array of objects", "put a dash before each rule, macro and list"))
	default:
		for _, item := range n.Content {
			if item = deref(item); !isNull(item) {
				if err := r.readItem(item); err != nil {
					r.fail(err)
				}
			}
		}
	}
}

func (r *reader) readItem(n *yaml.Node) *Problem {
	sc := r.root.in(r.src, n, "rules content item", "")
	if n.Kind != yaml.MappingNode {
		return sc.here(ErrYAMLValidate, "Unexpected element type. Each element should be a yaml associative array.", "")
	}
	kind := kindOf(n)
	d := &decoder{src: r.src, n: n, sc: r.root.in(r.src, n, kind, "")}
	switch kind {
	case "required_engine_version":
		return r.readEngineVersion(d)
	case "required_plugin_versions":
		return r.readPluginVersions(d)
	case "list":
		return r.readList(d)
	case "macro":
		return r.readMacro(d)
	case "rule":
		return r.readRule(d)
	}
	r.warn(sc.here(WarnUnknownItem, "Unknown top level item", "an item is a rule, a macro, a list, required_engine_version or required_plugin_versions"))
	return nil
}

// named reads the name of d's item, the value of key kind, and makes it part of d's scope. What the name is not is the caller's business.
func (d *decoder) named(kind string) string {
	name := d.str(kind)
	d.sc.itemName = name
	return name
}

var semver = regexp.MustCompile(`^([0-9]+)\.([0-9]+)\.([0-9]+)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$`)

// parseVersion reads "x.y.z".
func parseVersion(s string) (v [3]uint64, ok bool) {
	m := semver.FindStringSubmatch(s)
	if m == nil {
		return v, false
	}
	for i := range v {
		n, err := strconv.ParseUint(m[i+1], 10, 32)
		if err != nil {
			return v, false
		}
		v[i] = n
	}
	return v, true
}

// compatible reports whether what has version v does where want is asked for.
func compatible(v, want [3]uint64) bool {
	return v[0] == want[0] && (v[1] > want[1] || v[1] == want[1] && v[2] >= want[2])
}

func (r *reader) readEngineVersion(d *decoder) *Problem {
	r.checkKeys(d, "required_engine_version")
	v := d.scalar("required_engine_version", false)
	if d.err != nil {
		return d.err
	}
	var want [3]uint64
	var ok bool
	if n, err := strconv.ParseUint(v.Value, 0, 32); err == nil {
		want, ok = [3]uint64{0, n, 0}, true
	} else {
		want, ok = parseVersion(v.Value)
	}
	at, width := r.src.place(v), len(v.Value)
	if !ok {
		return d.sc.problem(ErrYAMLValidate, at, width,
			fmt.Sprintf(`Unable to parse engine version '%s' as a semver string. Expected "x.y.z" semver format.`, v.Value), "")
	}
	if have, _ := parseVersion(EngineVersion); !compatible(have, want) {
		return d.sc.problem(ErrValidate, at, width,
			fmt.Sprintf("Rules require engine version %d.%d.%d, but engine version is %s", want[0], want[1], want[2], EngineVersion), "")
	}
	return nil
}

func (r *reader) readPluginVersions(d *decoder) *Problem {
	r.checkKeys(d, "required_plugin_versions")
	_, v := lookup(d.n, "required_plugin_versions")
	sc := r.root.in(r.src, v, "required plugin versions", "")
	if v.Kind != yaml.SequenceNode {
		return sc.here(ErrYAMLValidate, "Value of required_plugin_versions must be a sequence", "")
	}
	for _, n := range v.Content {
		n = deref(n)
		e := &decoder{src: r.src, n: n, sc: sc.in(r.src, n, "required plugin versions entry", "")}
		if n.Kind != yaml.MappingNode {
			return e.sc.here(ErrYAMLValidate, "Plugin version must be a mapping", "")
		}
		r.checkKeys(e, "plugin")
		req := &Requirement{sc: e.sc}
		req.Alternatives = append(req.Alternatives, e.plugin())
		if err := r.readAlternatives(e, req); err != nil {
			return err
		}
		if err := r.checkRequirement(req); err != nil {
			return err
		}
		r.col.Plugins = append(r.col.Plugins, req)
	}
	return nil
}

// plugin reads the keys name and version.
func (d *decoder) plugin() Plugin {
	p := Plugin{Name: d.named("name")}
	p.Version = d.str("version")
	return p
}

func (r *reader) readAlternatives(e *decoder, req *Requirement) *Problem {
	if e.err != nil {
		return e.err
	}
	k, alts := lookup(e.n, "alternatives")
	if k == nil {
		return nil
	}
	if alts.Kind != yaml.SequenceNode {
		return e.sc.here(ErrYAMLValidate, "Value of plugin version alternatives must be a sequence", "")
	}
	for _, n := range alts.Content {
		n = deref(n)
		a := &decoder{src: r.src, n: n, sc: e.sc.in(r.src, n, "required plugin versions alternative", "")}
		if n.Kind != yaml.MappingNode {
			return a.sc.here(ErrYAMLValidate, "Plugin version alternative must be a mapping", "")
		}
		r.checkKeys(a, "alternative")
		req.Alternatives = append(req.Alternatives, a.plugin())
		if a.err != nil {
			return a.err
		}
	}
	return nil
}

// checkRequirement checks the versions of a requirement, and that one of its alternatives is built in.
func (r *reader) checkRequirement(req *Requirement) *Problem {
	seen, present := map[string]bool{}, false
	var wanted []string
	for _, p := range req.Alternatives {
		if _, ok := parseVersion(p.Version); !ok {
			return req.sc.here(ErrValidate, fmt.Sprintf("Invalid required version '%s' for plugin '%s'", p.Version, p.Name), "")
		}
		if seen[p.Name] {
			return req.sc.here(ErrValidate, fmt.Sprintf("Defined multiple alternative version requirements for plugin '%s'", p.Name), "")
		}
		seen[p.Name] = true
		wanted = append(wanted, fmt.Sprintf("%s (>= %s)", p.Name, p.Version))
		for _, have := range presentPlugins {
			present = present || have == p.Name
		}
	}
	if !present {
		return req.sc.here(ErrValidate, "Plugin requirement not satisfied, must load one of: "+strings.Join(wanted, ", "),
			"built in are "+strings.Join(presentPlugins, ", "))
	}
	return nil
}
