// Package chaos holds the runtime to its promise while its processes are killed and stopped, the API server goes away and NATS restarts:
// every event ends in exactly one sealed action, nothing is written twice, nothing is written without an intent. The tests have the build
// tag chaos. TIERCEL_CHAOS_EVENTS says how many events each takes; 10000 is what the promise is measured with, 600 the default.
package chaos
