// Package process keeps the processes of this node: which image each one runs and has run, who started it and who looks after it now.
// It is fed with the kernel's fork, exec and exit records in any order (Table.Apply) and answers for the time of an event, so that any
// interleaving of the rings gives the same answers. Turning processes into rule fields is sensor/extract's. Read Table first, then Process.
//
// Nothing here is safe for concurrent use: one goroutine at a time owns a Table.
package process
