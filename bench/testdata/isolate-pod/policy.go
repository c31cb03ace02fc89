package main

import tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"

// How much traffic a policy allows the pods it selects.
const (
	allowsNone = iota
	allowsSome
	allowsAll // of a direction
)

// allows reads a NetworkPolicy's spec. A rule without peers and ports allows its direction entirely.
func allows(spec tiercel.Value) int {
	most := allowsNone
	for _, direction := range []struct{ rules, peers string }{{"ingress", "from"}, {"egress", "to"}} {
		for rule := range spec.Get(direction.rules).Items() {
			if isEmpty(rule.Get(direction.peers)) && isEmpty(rule.Get("ports")) {
				return allowsAll
			}
			most = allowsSome
		}
	}
	return most
}

func isEmpty(v tiercel.Value) bool {
	for range v.Items() {
		return false
	}
	return true
}

// selects reports whether a label selector selects an object with these labels.
func selects(selector, labels tiercel.Value) bool {
	for key, value := range selector.Get("matchLabels").Fields() {
		if l := labels.Get(key); !l.Exists() || l.String() != value.String() {
			return false
		}
	}
	for e := range selector.Get("matchExpressions").Items() {
		if !matches(e, labels) {
			return false
		}
	}
	return true
}

func matches(expression, labels tiercel.Value) bool {
	label := labels.Get(expression.Get("key").String())
	listed := false
	for _, v := range expression.Get("values").Strings() {
		listed = listed || label.Exists() && label.String() == v
	}
	switch expression.Get("operator").String() {
	case "In":
		return listed
	case "NotIn":
		return !listed
	case "Exists":
		return label.Exists()
	case "DoesNotExist":
		return !label.Exists()
	}
	return true // an operator of a later API: better reported than overlooked
}
