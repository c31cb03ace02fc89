// Package format writes the outputs of rules: templates such as "file %fd.name opened by %proc.name" filled with the values of an event, and
// the typed values of the fields that they name. Read Template first.
package format
