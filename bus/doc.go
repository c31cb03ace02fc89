// Package bus is the way between the parts of Tiercel: NATS JetStream with our subjects, streams and buckets, and the CloudEvent that
// travels on it.
//
// It holds the envelope and its codec (Event, MatchData, Target), every subject, stream and bucket name (subject.go, streams.go), an
// embedded server (Server), a connection (Bus), an asynchronous publisher (Publisher), readers (Bus.Tail, Bus.Range, Bus.Event) and the
// few operations that the runtime's journal needs (Bus.Append and its neighbours). It knows nothing of rules, functions or Kubernetes;
// what records in JOURNAL or ACTIONS mean is the runtime's business.
//
// Read Event first, then Bus and Publisher.
package bus
