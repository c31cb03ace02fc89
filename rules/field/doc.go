// Package field is the vocabulary that the rule language and the sources of events share: the registry of fields (ID, Info), the event
// types (EventType), the typed Value of a field, and Event, which every source of events implements and every matcher reads.
//
// It holds no rule and evaluates nothing; it imports nothing of ours. Read Event first, then Value.
package field
