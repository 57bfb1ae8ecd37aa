package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Hints are commands that work when pasted, and that never cost money: they keep the
// configuration and the flags of the command that prints them, and where several
// would do, the one that asks the gate first comes first.

// commandLine is the command that is running, as it can be typed again.
type commandLine struct {
	name  string   // as "run"
	args  []string // quoted for a shell
	flags []flagArg
}

type flagArg struct{ name, text string }

// rememberLine keeps what was typed, but for flags that only make sense once.
func (a *app) rememberLine(c *cobra.Command, args []string) {
	a.line = commandLine{name: c.Name()}
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") && arg != "-" && len(a.line.args) == 0 {
			a.line.args = append(a.line.args, "--") // what follows is no flag
		}
		a.line.args = append(a.line.args, shellWord(arg))
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "batch", "yes", "dry-run":
			return
		}
		values := []string{f.Value.String()}
		if s, ok := f.Value.(pflag.SliceValue); ok {
			values = s.GetSlice()
		}
		for _, v := range values {
			text := "--" + f.Name
			switch {
			case f.Name == "output":
				text = "-o " + shellWord(v)
			case f.Value.Type() != "bool":
				text += " " + shellWord(v)
			}
			a.line.flags = append(a.line.flags, flagArg{f.Name, text})
		}
	})
}

// again is the running command once more, with flags added or, named with a "-"
// before them, left out.
func (a *app) again(change ...string) string { return a.line.with(a.line.args, change) }

// onBatch is the running command for a batch in the store, whatever its file.
func (a *app) onBatch(short string, change ...string) string {
	change = append(change, "-expect-rows", "-expect-total", "-skip-invalid")
	return a.line.with([]string{"--batch " + short}, change)
}

func (l commandLine) with(args, change []string) string {
	parts := []string{"masspay", l.name}
	last := len(args) > 0 && args[0] == "--" // what follows would be no flag
	if !last {
		parts = append(parts, args...)
	}
	for _, f := range l.flags {
		if !slices.Contains(change, "-"+f.name) && !slices.Contains(change, f.text) {
			parts = append(parts, f.text)
		}
	}
	for _, c := range change {
		if strings.HasPrefix(c, "--") {
			parts = append(parts, c)
		}
	}
	if last {
		parts = append(parts, args...)
	}
	return strings.Join(parts, " ")
}

// withConfig makes the commands of a hint use the configuration of this one.
func (a *app) withConfig(hint string) string {
	if a.configFlag == "" {
		return hint
	}
	flag := " --config " + shellWord(a.configFlag)
	for _, c := range a.root().Commands() {
		hint = addFlag(hint, "masspay "+c.Name(), flag)
	}
	return hint
}

// addFlag puts a flag behind a command wherever a text has it, unless it is
// there.
func addFlag(text, command, flag string) string {
	var b strings.Builder
	for {
		i := strings.Index(text, command)
		if i < 0 {
			break
		}
		end := i + len(command)
		b.WriteString(text[:end])
		text = text[end:]
		whole := text == "" || strings.ContainsRune(" ,;:)", rune(text[0]))
		if whole && !strings.Contains(firstSentence(text), flag) {
			b.WriteString(flag)
		}
	}
	b.WriteString(text)
	return b.String()
}

// firstSentence is the text up to where a command surely ends.
func firstSentence(s string) string {
	if i := strings.IndexAny(s, ";,"); i >= 0 {
		return s[:i]
	}
	return s
}
