// Package guard decides whether an event that a function's triggers select may be acted on: age, protection, duplicates, budget, revisions
// halted after crashes, and the one global stop switch.
//
// Decisions are part of the invocation's claim (runtime/journal); entries in the bucket of state hold the id of the invocation that
// owns them, so an event's own redelivery is never "a duplicate". Read Guard first, then Switch.
package guard
