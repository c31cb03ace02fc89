// Package rules is Falco's rule language, from rules files to alerts: Load reads and compiles files into a Set, a Set makes Matchers, a
// Matcher says which rules an event matches and renders the Alert.
//
// It leaves reading YAML to rules/load, parsing conditions to rules/filter, evaluating them to rules/match and output templates to
// rules/format. Where events come from is not its business: whatever implements field.Event can be matched.
// Read Load first, then Set.
package rules
