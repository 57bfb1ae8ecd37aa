package web

import (
	"embed"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

//go:embed locale/*.json
var localeFiles embed.FS

// languages are those of the pages; the first one is for who asks for none of them.
var languages = []string{"en", "ru"}

var (
	bundle  = readBundle()
	matcher = language.NewMatcher([]language.Tag{language.English, language.Russian})
)

func readBundle() *i18n.Bundle {
	b := i18n.NewBundle(language.English)
	for _, lang := range languages {
		if _, err := b.LoadMessageFileFS(localeFiles, "locale/"+lang+".json"); err != nil {
			panic("embedded words: " + err.Error())
		}
	}
	return b
}

// words speak one language.
type words struct {
	Lang      string
	localizer *i18n.Localizer
}

// wordsFor are those of a chosen language, else of one that the browser asks for.
func wordsFor(chosen, accepted string) *words {
	_, at := language.MatchStrings(matcher, chosen, accepted)
	return &words{Lang: languages[at], localizer: i18n.NewLocalizer(bundle, languages[at], languages[0])}
}

// T is a text by its id. Args are names and values; a value N that is a number chooses among
// plural forms.
func (w *words) T(id string, args ...any) string {
	c := &i18n.LocalizeConfig{MessageID: id}
	if len(args) > 0 {
		data := map[string]any{}
		for i := 0; i+1 < len(args); i += 2 {
			name, _ := args[i].(string)
			data[name] = args[i+1]
			if name == "N" {
				c.PluralCount = args[i+1]
			}
		}
		c.TemplateData = data
	}
	text, err := w.localizer.Localize(c)
	if err != nil && c.PluralCount != nil { // a text with one form
		c.PluralCount = nil
		text, err = w.localizer.Localize(c)
	}
	if err != nil {
		return id // a test compares the keys
	}
	return text
}
