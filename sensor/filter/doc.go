// Package filter works out of the rules what the kernel need not send: Compile makes a Plan, for each event type a condition over what the
// kernel knows that is true whenever some rule may match, and Assemble the eBPF programs that decide it. It loads nothing and looks at no
// event: sensor/kernel does.
//
// Every part of a rule's condition is a pair (may be true, may be false). A comparison that the kernel can make is exact or says too much,
// never too little; all others may be both. "not" swaps the pair. An event is dropped only if "may be true" is false for every rule.
//
// Read Plan first, then Test, which lists what the kernel can compare.
package filter
