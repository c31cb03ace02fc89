package abi

// ManifestSection is the name of the custom section that holds the manifest.
const ManifestSection = "tiercel.manifest"

// A Manifest says what a module is, what it needs and which configuration it takes. In a module's source folder it is manifest.json.
type Manifest struct {
	ABI         string  `json:"abi"`  // ImportModule
	Name        string  `json:"name"` // a DNS label: lower-case letters, digits and "-", at most 63
	Version     string  `json:"version"`
	Description string  `json:"description,omitempty"` // one line
	Needs       Needs   `json:"needs"`
	Config      *Schema `json:"config,omitempty"` // of an object; nil: takes no configuration
}

// Needs is what a module calls. A function's grants must cover every need that is not optional, and nothing that is not needed.
type Needs struct {
	Kubernetes []KubernetesNeed `json:"kubernetes,omitempty"`
	Exec       bool             `json:"exec,omitempty"` // which commands, at least one, is the deployer's to say
	HTTP       bool             `json:"http,omitempty"` // which URLs, at least one, is the deployer's to say
	KV         bool             `json:"kv,omitempty"`
	Secrets    bool             `json:"secrets,omitempty"` // may use secrets; which, if any, is the deployer's to say
	Artifacts  bool             `json:"artifacts,omitempty"`
	Node       []string         `json:"node,omitempty"` // reserved
}

// A KubernetesNeed is a rule as in a Role: every verb on every resource of every group.
type KubernetesNeed struct {
	APIGroups []string `json:"apiGroups"` // "" is the core group
	Resources []string `json:"resources"` // plural; subresources as "pods/eviction"
	Verbs     []string `json:"verbs"`
	Optional  bool     `json:"optional,omitempty"` // works without, with less
	Why       string   `json:"why,omitempty"`      // for people
}

// A Schema is the part of JSON Schema (2020-12) that a configuration may be described with. Properties that Properties does not
// name are refused.
type Schema struct {
	Type        string             `json:"type"` // object, array, string, integer, number, boolean
	Description string             `json:"description,omitempty"`
	Properties  map[string]*Schema `json:"properties,omitempty"`           // object
	Additional  *Schema            `json:"additionalProperties,omitempty"` // object: of properties not named, instead of refusing them
	Required    []string           `json:"required,omitempty"`             // object
	Items       *Schema            `json:"items,omitempty"`                // array
	MaxItems    int                `json:"maxItems,omitempty"`             // array; 0: no limit
	Enum        []string           `json:"enum,omitempty"`                 // string
	MaxLength   int                `json:"maxLength,omitempty"`            // string, in bytes; 0: no limit
	Pattern     string             `json:"pattern,omitempty"`              // string: RE2, unanchored
	Minimum     *float64           `json:"minimum,omitempty"`              // integer, number
	Maximum     *float64           `json:"maximum,omitempty"`              // integer, number
	Default     Raw                `json:"default,omitempty"`              // filled in where the key is absent
	OneOf       []RequiredKeys     `json:"oneOf,omitempty"`                // object: exactly one of these sets of keys is there
	Grant       Grant              `json:"grant,omitempty"`                // the value is used so: a document that does not grant it is refused
}

// RequiredKeys is a set of keys, in a [Schema].
type RequiredKeys struct {
	Required []string `json:"required"`
}

// A Grant says what a value of the configuration is used for, so that a document that sets it and does not grant it is refused when it is
// deployed, not when the function asks.
type Grant string

// Uses of values.
const (
	GrantCommand   Grant = "exec"           // array of strings: a command for exec
	GrantContainer Grant = "exec.container" // string: the container that exec runs it in
	GrantURL       Grant = "http"           // string: a URL for http
	GrantSecret    Grant = "secrets"        // string: name of a secret
)
