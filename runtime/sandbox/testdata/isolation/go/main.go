// Command isolation is a guest that leaves behind what it can, and reports what it finds: in its globals, on its heap, in memory it grew,
// goroutines and timers.
package main

import (
	"time"

	tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"
)

func main() {}

var (
	calls, awake int
	last         string
	kept         [][]byte
)

func init() {
	tiercel.Handle(func(ev tiercel.Event) error {
		calls++
		tiercel.Report("calls", calls)
		tiercel.Report("last", last)
		tiercel.Report("kept", len(kept)+awake)
		last = ev.ID
		size := 4 << 10
		switch ev.Subject {
		case "grow":
			size = 12 << 20
		case "leave":
			for range 100 {
				go func() { time.Sleep(time.Hour); awake++ }()
			}
			time.AfterFunc(time.Millisecond, func() { awake++ })
			time.Sleep(0)
		}
		b := make([]byte, size)
		for i := range b {
			b[i] = 'k'
		}
		kept = append(kept, b)
		return nil
	})
}
