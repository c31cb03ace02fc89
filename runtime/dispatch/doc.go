// Package dispatch brings events to functions: one durable pull consumer per function that asks for no more than can be handled at once,
// the check that an event is what its address says, and what becomes of the message afterwards.
//
// What handling means is the caller's Handler (runtime). Read Delivery and Verdict first, then Consumer.
package dispatch
