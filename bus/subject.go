package bus

import (
	"errors"
	"fmt"
	"strings"
)

// A Subject is an address on the bus. The word alone, in Event, is the CloudEvents attribute.
type Subject string

// Tokens that stand for a name that is not there or not allowed. No Kubernetes name contains an underscore.
const (
	HostToken    = "_host"    // no namespace: the host itself
	InvalidToken = "_invalid" // a namespace or node that is no Kubernetes name
)

// ErrSubject is in every error about an address that does not have the form asked for.
var ErrSubject = errors.New("malformed subject")

// RuleToken is the token of a rule's name: lower-cased, every run outside [a-z0-9] one "_", none at the ends; as Falcosidekick does it.
// Two rules may share a token; the event's rule attribute tells them apart.
func RuleToken(rule string) string {
	var room [64]byte
	if b := appendRuleToken(room[:0], rule); string(b) != rule {
		return string(b)
	}
	return rule
}

// IsRuleToken reports whether RuleToken makes that token of a rule's name.
func IsRuleToken(token, rule string) bool {
	var room [64]byte
	return string(appendRuleToken(room[:0], rule)) == token
}

func appendRuleToken(b []byte, rule string) []byte {
	gap := false
	for i := range len(rule) {
		c := rule[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			gap = true
			continue
		}
		if gap && len(b) > 0 {
			b = append(b, '_')
		}
		gap = false
		b = append(b, c)
	}
	if len(b) == 0 {
		return append(b, '_')
	}
	return b
}

// NamespaceToken is the token of a namespace; empty is HostToken, and what is no Kubernetes name is InvalidToken, so that whoever chooses
// a name cannot reach another tenant's subjects.
func NamespaceToken(namespace string) string {
	if namespace == "" {
		return HostToken
	}
	return nameToken(namespace)
}

// NodeToken is the token of a node's name; what is no Kubernetes name is InvalidToken. See NodeName.
func NodeToken(node string) string { return nameToken(node) }

func nameToken(s string) string {
	if !isName(s) {
		return InvalidToken
	}
	return strings.ReplaceAll(s, ".", "_")
}

// isName reports whether s is a DNS-1123 subdomain as Kubernetes has it.
func isName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// NodeName makes a node's name of a host's name: lower-case, what does not belong into a Kubernetes name as "-". Outside a cluster it is
// what an event's id, source, target and subject carry. It returns "localhost" if nothing is left.
func NodeName(hostname string) string {
	b := []byte(strings.ToLower(hostname))
	for i, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' {
			b[i] = '-'
		}
	}
	var labels []string
	for label := range strings.SplitSeq(string(b[:min(len(b), 253)]), ".") {
		if label = strings.Trim(label, "-"); label != "" {
			labels = append(labels, label)
		}
	}
	if len(labels) == 0 {
		return "localhost"
	}
	return strings.Join(labels, ".")
}

// EventSubject is where a match is published: tiercel.events.<source>.<priority>.<rule>.<namespace>.<node>. Arguments are names, not
// tokens; node is a Kubernetes name or NodeName's result.
func EventSubject(source, priority, rule, namespace, node string) Subject {
	return Subject("tiercel.events." + RuleToken(source) + "." + RuleToken(priority) + "." + RuleToken(rule) + "." +
		NamespaceToken(namespace) + "." + NodeToken(node))
}

// An Address is what an event's bus address says.
type Address struct {
	Source, Priority, Rule string // tokens: they are not reversible
	Namespace              string // name; empty for the host
	Node                   string // name
}

// ParseEventSubject is the reverse of EventSubject. It returns an error that wraps ErrSubject if s is none of its results.
func ParseEventSubject(s Subject) (Address, error) {
	t := strings.Split(string(s), ".")
	if len(t) != 7 || t[0] != "tiercel" || t[1] != "events" {
		return Address{}, fmt.Errorf("%w: %q: want tiercel.events.<source>.<priority>.<rule>.<namespace>.<node>", ErrSubject, string(s))
	}
	for _, tok := range t[2:5] {
		if !IsRuleToken(tok, tok) {
			return Address{}, fmt.Errorf("%w: %q: token %q", ErrSubject, string(s), tok)
		}
	}
	a := Address{Source: t[2], Priority: t[3], Rule: t[4]}
	var ok bool
	if t[5] != HostToken {
		if a.Namespace, ok = tokenName(t[5]); !ok {
			return Address{}, fmt.Errorf("%w: %q: namespace %q", ErrSubject, string(s), t[5])
		}
	}
	if a.Node, ok = tokenName(t[6]); !ok {
		return Address{}, fmt.Errorf("%w: %q: node %q", ErrSubject, string(s), t[6])
	}
	return a, nil
}

// tokenName is the reverse of nameToken. InvalidToken stays as it is: it is equal to no name.
func tokenName(tok string) (string, bool) {
	if tok == InvalidToken {
		return tok, true
	}
	name := strings.ReplaceAll(tok, "_", ".")
	return name, isName(name)
}

// FunctionToken is the token of a function, everywhere: <tenant>_<name>, "." as "_".
func FunctionToken(tenant, name string) string {
	return strings.ReplaceAll(tenant+"_"+name, ".", "_")
}

// Token makes one token of any string: characters that a token cannot hold, and "=", become =XX. Different strings have different tokens.
func Token(s string) string {
	if s == "" {
		return "="
	}
	special := func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '.' || c == '*' || c == '>' || c == '=' }
	first := 0
	for first < len(s) && !special(s[first]) {
		first++
	}
	if first == len(s) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; special(c) {
			fmt.Fprintf(&b, "=%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// JournalSubject is where a running invocation is journaled. fn is a FunctionToken; invocation may be any string.
func JournalSubject(fn, invocation string) Subject {
	return Subject("tiercel.journal." + Token(fn) + "." + Token(invocation))
}

// ActionSubject is where the sealed record of a finished invocation goes. status is one of the outcomes ("succeeded", …).
func ActionSubject(namespace, fn, status string) Subject {
	return Subject("tiercel.actions." + NamespaceToken(namespace) + "." + Token(fn) + "." + Token(status))
}

// OutcomeSubject is where the CloudEvent of a finished invocation goes.
func OutcomeSubject(namespace, fn, status string) Subject {
	return Subject("tiercel.outcomes." + NamespaceToken(namespace) + "." + Token(fn) + "." + Token(status))
}

// TimerSubject is where a timer waits, TimerDueSubject where it arrives. Invocation may be any string.
func TimerSubject(invocation string) Subject {
	return Subject("tiercel.timers.at." + Token(invocation))
}

// TimerDueSubject is where TIMERS puts what was scheduled under TimerSubject(invocation) when its time has come.
func TimerDueSubject(invocation string) Subject {
	return Subject("tiercel.timers.due." + Token(invocation))
}

// DeadLetterSubject is where what a function could not handle goes. The reason is a token of its own, so that the stream can bound the
// number of letters per function and reason.
func DeadLetterSubject(fn, reason string) Subject {
	return Subject("tiercel.deadletter." + Token(fn) + "." + Token(reason))
}

// NodeSubject is where the sensor of a node answers the operation op.
func NodeSubject(node, op string) Subject {
	return Subject("tiercel.node." + NodeToken(node) + "." + Token(op))
}
