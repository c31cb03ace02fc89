// The bundled responder isolate-pod as it would be in Go, for BenchmarkResponderLanguage.
package main

import (
	"strings"

	tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"
)

// labelKey marks an isolated pod. Its value is the pod's UID: no other pod has it, whoever copies labels.
const labelKey = "tiercel.dev/quarantine"

func main() {}

func init() { tiercel.Handle(isolate) }

func isolate(ev tiercel.Event) error {
	pod := ev.Target.Pod()
	if !pod.Exists() {
		return tiercel.ErrNoPod
	}
	labelled, err := pod.Namespace().Pods().Patch(pod.Name(), pod.UID(), tiercel.Object{
		"metadata": tiercel.Object{"labels": tiercel.Object{labelKey: pod.UID()}},
	})
	if err != nil {
		return pod.SkipIfGone(err)
	}
	name, err := deny(pod, ev)
	if err != nil {
		return err
	}
	tiercel.Report("pod", string(pod.Namespace())+"/"+pod.Name())
	tiercel.Report("policy", name)
	tiercel.Progress("labelled, and policy " + name + " created")
	return reportOthers(pod, labelled, name)
}

// deny creates the policy and returns its name. A pod has one, however many events ask for it; if somebody else has made one of that
// name which denies less, another is made beside it.
func deny(pod tiercel.Pod, ev tiercel.Event) (name string, err error) {
	policies := pod.Namespace().NetworkPolicies()
	policy := denyAll(pod, ev)
	name = "tiercel-isolate-" + pod.UID()
	policy["metadata"].(tiercel.Object)["name"] = name
	created, err := policies.CreateObject(policy)
	if tiercel.CodeOf(err) != tiercel.CodeExists {
		return nameOr(created, name), err
	}
	existing, err := policies.Get(name)
	if err == nil && sameSpec(existing.Get("spec"), policy["spec"].(tiercel.Object)) {
		tiercel.Log("policy", name, "exists already")
		return name, nil
	}
	tiercel.Warn("policy", name, "exists and is not ours; making another")
	metadata := policy["metadata"].(tiercel.Object)
	delete(metadata, "name")
	metadata["generateName"] = name + "-"
	created, err = policies.CreateObject(policy)
	return nameOr(created, name), err
}

func nameOr(object tiercel.Value, name string) string {
	if n := object.Get("metadata", "name").String(); n != "" {
		return n
	}
	return name
}

func denyAll(pod tiercel.Pod, ev tiercel.Event) tiercel.Object {
	spec := tiercel.Object{
		"podSelector": tiercel.Object{"matchLabels": tiercel.Object{labelKey: pod.UID()}},
		"policyTypes": []string{"Ingress", "Egress"},
	}
	if peers := allowed(); len(peers) > 0 {
		spec["ingress"] = tiercel.List{tiercel.Object{"from": peers}}
		spec["egress"] = tiercel.List{tiercel.Object{"to": peers}}
	}
	return tiercel.Object{
		"apiVersion": "networking.k8s.io/v1",
		"kind":       "NetworkPolicy",
		"metadata": tiercel.Object{
			"labels": tiercel.Object{"app.kubernetes.io/managed-by": "tiercel"},
			"annotations": tiercel.Object{
				"tiercel.dev/event":      ev.ID,
				"tiercel.dev/invocation": tiercel.InvocationID(),
				"tiercel.dev/rule":       ev.Rule,
			},
			"ownerReferences": tiercel.List{pod.Owner()},
		},
		"spec": spec,
	}
}

// allowed returns the networks that the configuration leaves open.
func allowed() tiercel.List {
	var peers tiercel.List
	for _, cidr := range tiercel.Config().Get("allow").Strings() {
		peers = append(peers, tiercel.Object{"ipBlock": tiercel.Object{"cidr": cidr}})
	}
	return peers
}

// sameSpec reports whether a policy has just the selector, types and peers of ours.
func sameSpec(have tiercel.Value, want tiercel.Object) bool {
	text, err := tiercel.AppendJSON(nil, want)
	if err != nil {
		return false
	}
	w, err := tiercel.ParseJSON(text)
	return err == nil && equal(have, w)
}

// equal compares two values by content; a policy as it comes back from the API server has no keys beyond ours in its spec.
func equal(a, b tiercel.Value) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	switch a.Kind() {
	case tiercel.Map:
		n := 0
		for key, value := range a.Fields() {
			if !equal(value, b.Get(key)) {
				return false
			}
			n++
		}
		for range b.Fields() {
			n--
		}
		return n == 0
	case tiercel.Array:
		var other []tiercel.Value
		for item := range b.Items() {
			other = append(other, item)
		}
		i := 0
		for item := range a.Items() {
			if i >= len(other) || !equal(item, other[i]) {
				return false
			}
			i++
		}
		return i == len(other)
	}
	return a.String() == b.String()
}

// reportOthers looks for policies that still allow the pod traffic. It comes last: the isolation does not wait for it.
func reportOthers(pod tiercel.Pod, labelled tiercel.Value, ours string) error {
	policies, more, err := pod.Namespace().NetworkPolicies().List(tiercel.ListOptions{})
	if err != nil {
		tiercel.Warn("other policies are not known:", err)
		tiercel.Report("otherPolicies", "unknown")
		return nil
	}
	others, everything := []string{}, ""
	for _, p := range policies {
		name := p.Get("metadata", "name").String()
		if name == ours || !selects(p.Get("spec", "podSelector"), labelled.Get("metadata", "labels")) {
			continue
		}
		switch allows(p.Get("spec")) {
		case allowsAll:
			everything = name
			others = append(others, name)
		case allowsSome:
			others = append(others, name)
		}
	}
	tiercel.Report("otherPolicies", others)
	if more {
		tiercel.Warn("only the first", len(policies), "policies were looked at")
	}
	if everything != "" {
		return tiercel.Ineffective("policy " + everything + " of the namespace still allows the pod all traffic")
	}
	if len(others) > 0 {
		tiercel.Warn("the pod is still allowed some traffic by", strings.Join(others, ", "))
	}
	return nil
}
