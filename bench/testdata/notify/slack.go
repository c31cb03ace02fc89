package main

import (
	"strings"
	"unicode/utf8"

	tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"
)

const (
	maxOutput = 2000 // bytes of the rule's output in a message
	maxValue  = 300  // bytes of a field's value
)

// slack makes a message of one attachment, as Falcosidekick's are.
func slack(ev tiercel.Event, config tiercel.Value) tiercel.Object {
	fields := tiercel.List{field("Rule", ev.Rule), field("Priority", ev.Priority)}
	add := func(title, value string) {
		if value != "" {
			fields = append(fields, field(title, value))
		}
	}
	if ev.Target.PodName != "" {
		add("Pod", ev.Target.Namespace+"/"+ev.Target.PodName)
	}
	add("Container", ev.Target.Container)
	add("Image", ev.Target.Image)
	add("Node", firstOf(ev.Target.Node, ev.Hostname))
	add("Time", ev.Time)
	for _, name := range config.Get("fields").Strings() {
		add(name, ev.Field(name).String())
	}
	message := tiercel.Object{
		"text":   escape(short(firstOf(config.Get("title").String(), ev.Rule), maxValue)),
		"mrkdwn": false,
		"attachments": tiercel.List{tiercel.Object{
			"fallback":  escape(short(ev.Output, maxOutput)),
			"text":      escape(short(ev.Output, maxOutput)),
			"color":     color(ev.Priority),
			"fields":    fields,
			"footer":    "tiercel " + escape(short(ev.ID, maxValue)),
			"mrkdwn_in": []string{},
		}},
	}
	if channel := config.Get("channel").String(); channel != "" {
		message["channel"] = channel
	}
	return message
}

func field(title, value string) tiercel.Object {
	return tiercel.Object{"title": escape(title), "value": escape(short(value, maxValue)), "short": len(value) <= 40}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// escape keeps text from being a link, a mention or an entity in Slack.
func escape(s string) string {
	s = strings.ReplaceAll(s, "&", "&amp;")
	s = strings.ReplaceAll(s, "<", "&lt;")
	return strings.ReplaceAll(s, ">", "&gt;")
}

// short cuts s to n bytes on a rune boundary.
func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// color is that of Falcosidekick for the same priority.
func color(priority string) string {
	switch strings.ToLower(priority) {
	case "emergency", "alert", "critical", "error":
		return "#e20b0b"
	case "warning":
		return "#ffc700"
	case "notice":
		return "#5bffb5"
	case "informational", "info":
		return "#68c2ff"
	}
	return "#ccfff2"
}
