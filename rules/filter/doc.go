// Package filter reads the condition language of Falco's rules: text to tree (Parse) and tree to text (Print). It knows the grammar and no
// field, list or macro; what a tree means is package match's. Read Expr first.
package filter
