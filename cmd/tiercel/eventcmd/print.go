package eventcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
)

// tail prints what the query selects, until ctx or the number of events ends it.
func tail(ctx context.Context, s cli.Streams, b *bus.Bus, o *tailOptions) error {
	read := b.Tail
	if !o.follow {
		read = b.Range
	}
	n := 0
	for r, err := range read(ctx, o.query) {
		switch {
		case r == nil:
			return err
		case err != nil:
			fmt.Fprintln(s.Err, badMessage(err))
			continue
		}
		if err := printEvent(s.Out, o.format, r); err != nil {
			return err
		}
		if n++; n == o.count {
			return nil
		}
	}
	return nil
}

func printEvent(w io.Writer, format cli.Format, r *bus.Received) error {
	if format == cli.JSON {
		var line bytes.Buffer
		if err := json.Compact(&line, bus.Marshal(r.Event)); err != nil {
			return err
		}
		line.WriteByte('\n')
		_, err := w.Write(line.Bytes())
		return err
	}
	_, err := io.WriteString(w, textLine(r.Event))
	return err
}

// textLine is one line for people: time, priority, where, output, id.
func textLine(e *bus.Event) string {
	var b strings.Builder
	b.WriteString(e.Time.Local().Format(time.StampMilli))
	fmt.Fprintf(&b, " %-13s ", printable(e.Priority))
	where := e.Subject
	if where == "" {
		where = e.Source
	}
	b.WriteString(printable(where))
	b.WriteString("  ")
	b.WriteString(printable(output(e)))
	b.WriteString("  id=")
	b.WriteString(printable(e.ID))
	b.WriteByte('\n')
	return b.String()
}

// output is the rule's name and its output, without the time and priority that the line begins with already; the type if e is no match.
func output(e *bus.Event) string {
	m, err := e.Match()
	if err != nil {
		return e.Type
	}
	text := m.Output
	if _, rest, ok := strings.Cut(text, ": "+m.Priority+" "); ok {
		text = rest
	}
	return strings.TrimSuffix(e.Rule+": "+text, ": ")
}

// printable takes out what would move the cursor of a terminal or the direction of its text: strings in events are anybody's.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) && !unicode.Is(unicode.Bidi_Control, r) {
			return r
		}
		return '�'
	}, s)
}
