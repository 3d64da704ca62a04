"""Invented documents with names, codes, numbers, lists and tables, and questions whose answers must be copied to the letter.

Public reading sets hold few codes, prices and opening hours, and mostly ask a passage what it says. Here several things of one
kind have the same attributes in one passage, so the answer must come from the right line. Often the attribute asked for is
stated only for another thing. Everything is drawn from small grammars with a seed. Pure: no model, no file.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.contracts.context import PassageText

Draw = random.Random


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a kind of thing: `row` is its name in lists and tables, `prose` states it, `questions` ask for it.

    In prose and questions `{thing}` is the thing, `{value}` the value.
    """

    row: str
    value: Callable[[Draw], str]
    prose: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing: its name generator, the headings of documents on it, and its attributes."""

    name: Callable[[Draw], str]
    titles: tuple[str, ...]
    attributes: tuple[Attribute, ...]


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing with the values of the attributes that its document states."""

    name: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question; `number` is that of the passage that answers it (0: none), `reply` the exact words.

    `statement` is the answer as a sentence; empty if nothing answers.
    """

    question: str
    number: int
    reply: str
    statement: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Passages shown together, and the questions on them."""

    passages: tuple[PassageText, ...]
    asked: tuple[Asked, ...]


# fmt: off
_ONSETS = [
    "b", "br", "c", "ch", "d", "dr", "f", "g", "gr", "h", "j", "k", "kl", "l", "m", "n", "p", "pr", "r", "s", "sh", "st", "t",
    "tr", "v", "w", "z",
]
# fmt: on
_VOWELS = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ea", "ou", "y"]
_CODAS = ["", "", "n", "r", "l", "s", "m", "t", "nd", "rk", "x", "ck", "th"]
# fmt: off
_FIRST = [
    "Ada", "Amir", "Ana", "Anders", "Asha", "Ben", "Carla", "Chen", "Dalia", "David", "Edith", "Elif", "Emil", "Farid",
    "Fiona", "Goran", "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jin", "Jonas", "Kira", "Kofi", "Lars", "Leila", "Lucia",
    "Marek", "Maya", "Mei", "Nadia", "Nils", "Olga", "Omar", "Paula", "Pavel", "Priya", "Rosa", "Ruth", "Samir", "Sara",
    "Sven", "Tariq", "Tess", "Uma", "Vera", "Wanda", "Yara", "Yusuf", "Zoe",
]
_TRADES = [
    "Press", "Mill", "Works", "Depot", "Museum", "School", "Clinic", "Library", "Theatre", "Workshop", "Garden", "Market",
    "Station", "Institute", "Archive",
]
# fmt: on
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
# fmt: off
_MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
]
_THINGS = [
    "pump", "press", "scanner", "generator", "lift", "mixer", "boiler", "compressor", "printer", "drill", "conveyor", "dryer",
    "cutter", "welder", "crane", "mower", "heater", "loom", "kiln", "sensor", "router", "camera", "projector", "thermostat",
]
_GOODS = [
    "kettle", "backpack", "lamp", "tent", "blanket", "rucksack", "teapot", "bicycle", "jacket", "notebook", "headset",
    "keyboard", "mattress", "clock", "saddle", "stove", "wrench", "raincoat",
]
# fmt: on


def word(rng: Draw, syllables: int = 2) -> str:
    """An invented name."""
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables)).capitalize()


def code(rng: Draw) -> str:
    """A part, form or room code in one of many shapes."""
    letters = "".join(rng.choice("ABCDEFGHJKLMNPRSTVWXZ") for _ in range(rng.choice((1, 2, 2, 3))))
    digits = str(rng.randrange(10 ** (rng.choice((2, 3, 3, 4, 5)) - 1), 10**5))[: rng.choice((2, 3, 4, 5))]
    tail = rng.choice(["", "", "", "/" + str(rng.randrange(1, 13)), "-" + rng.choice("ABCDX"), "." + str(rng.randrange(10))])
    return letters + rng.choice(["-", "-", " ", "", "/"]) + digits + tail


def number(rng: Draw, unit: str, low: int, high: int) -> str:
    value = rng.randrange(low, high)
    text = rng.choice([f"{value:,}", f"{value:,}", f"{value}", f"{value + rng.randrange(1, 10) / 10:.1f}"])
    return f"{text} {unit}"


def clock(rng: Draw) -> str:
    hour, minute = rng.randrange(5, 23), rng.choice((0, 0, 15, 30, 45, 5, 10, 20, 40, 50))
    return rng.choice(
        (
            f"{hour:02d}:{minute:02d}",
            f"{hour:02d}:{minute:02d}",
            f"{(hour - 1) % 12 + 1}:{minute:02d} {'am' if hour < 12 else 'pm'}",
        )
    )


def date(rng: Draw) -> str:
    day, month, year = rng.randrange(1, 29), rng.choice(_MONTHS), rng.randrange(1978, 2031)
    return rng.choice(
        (f"{day} {month} {year}", f"{month} {day}, {year}", f"{year}-{_MONTHS.index(month) + 1:02d}-{day:02d}", f"{day} {month}")
    )


def person(rng: Draw) -> str:
    return rng.choice(
        (
            f"{rng.choice(_FIRST)} {word(rng)}",
            f"{rng.choice(_FIRST)} {word(rng)}",
            f"Dr {word(rng)}",
            f"{rng.choice(_FIRST)[0]}. {word(rng)}",
        )
    )


def price(rng: Draw) -> str:
    sign, amount = rng.choice("€$£"), rng.randrange(3, 900)
    return rng.choice(
        (
            f"{sign}{amount}",
            f"{sign}{amount}.{rng.choice(('50', '90', '25', '99'))}",
            f"{sign}{amount * 10:,}",
            f"{amount} {rng.choice(('euros', 'kroner', 'dollars'))}",
        )
    )


def phone(rng: Draw) -> str:
    part = [str(rng.randrange(10 ** (n - 1), 10**n)) for n in (2, 3, 3)]
    return rng.choice((" ".join(part), f"0{part[0]} {part[1]} {part[2]}", f"extension {rng.randrange(100, 9999)}"))


def days(rng: Draw) -> str:
    first, last = sorted(rng.sample(range(7), 2))
    return rng.choice(
        (
            f"{_DAYS[first]} to {_DAYS[last]}",
            f"{_DAYS[first]} and {_DAYS[last]}",
            f"every {_DAYS[first]}",
            f"the first {_DAYS[last]} of each month",
        )
    )


def place(rng: Draw) -> str:
    return rng.choice(
        (
            f"{rng.randrange(1, 190)} {word(rng)} {rng.choice(('Street', 'Road', 'Lane', 'Square'))}",
            f"room {code(rng)}",
            f"the {rng.choice(('ground', 'first', 'second', 'third'))} floor of the {word(rng)} building",
            f"the {rng.choice(('north', 'south', 'east', 'west'))} {rng.choice(('gate', 'yard', 'hall', 'wing', 'store'))}",
        )
    )


def period(rng: Draw) -> str:
    return rng.choice(
        (
            f"every {rng.randrange(2, 18)} months",
            f"every {rng.randrange(50, 4000)} hours",
            f"after {rng.randrange(2, 90)} days",
            "twice a year",
            f"every {rng.randrange(2, 9)} weeks",
        )
    )


def colour(rng: Draw) -> str:
    return rng.choice(("red", "dark green", "yellow", "blue", "white with a black stripe", "orange", "grey", "violet"))


def _machine(rng: Draw) -> str:
    return rng.choice((f"{word(rng)} {rng.choice(_THINGS)}", f"{rng.choice(_THINGS)} {code(rng)}", f"{word(rng)} {code(rng)}"))


def _house(rng: Draw) -> str:
    return f"{word(rng)} {rng.choice(_TRADES)}"


def _article(rng: Draw) -> str:
    return f"{word(rng)} {rng.choice(_GOODS)}"


def _course(rng: Draw) -> str:
    return rng.choice(
        (
            f"{rng.choice(('course', 'workshop', 'exercise'))} {code(rng)}",
            f"the {word(rng)} {rng.choice(('course', 'festival', 'conference', 'regatta', 'audit'))}",
        )
    )


def _trip(rng: Draw) -> str:
    return rng.choice(
        (f"line {rng.randrange(1, 99)}", f"train {code(rng)}", f"the {word(rng)} ferry", f"bus {rng.randrange(2, 400)}")
    )


def _job(rng: Draw) -> str:
    return person(rng)


KINDS: tuple[Kind, ...] = (
    Kind(
        _machine,
        ("Equipment sheet", "Data sheet", "Maintenance handbook", "Machine list", "Technical file"),
        (
            Attribute(
                "Power",
                lambda r: number(r, r.choice(("kW", "W", "hp")), 2, 3000),
                ("{thing} draws {value}.", "The power of {thing} is {value}.", "{thing} is rated at {value}."),
                ("How much power does {thing} draw?", "what is the power rating of {thing}", "What power is {thing} rated at?"),
            ),
            Attribute(
                "Weight",
                lambda r: number(r, r.choice(("kg", "t", "g")), 2, 2500),
                ("It weighs {value}.", "{thing} weighs {value}."),
                ("How heavy is {thing}?", "What does {thing} weigh?", "weight of {thing}?"),
            ),
            Attribute(
                "Service interval",
                period,
                ("{thing} is serviced {value}.", "Service is due {value}."),
                ("How often is {thing} serviced?", "When is service due on {thing}?"),
            ),
            Attribute(
                "Spare part",
                code,
                ("The filter of {thing} has part number {value}.", "Order the seal of {thing} as {value}."),
                (
                    "Which part number do I order for {thing}?",
                    "What is the spare part number of {thing}?",
                    "part no. for {thing}?",
                ),
            ),
            Attribute(
                "Location",
                place,
                ("{thing} stands in {value}.", "It is kept in {value}."),
                ("Where does {thing} stand?", "Where is {thing} kept?", "where do I find {thing}"),
            ),
            Attribute(
                "Operating temperature",
                lambda r: number(r, "°C", 5, 900),
                ("{thing} runs at {value}.", "Above {value} {thing} switches itself off."),
                ("At what temperature does {thing} run or switch off?", "temperature limit of {thing}?"),
            ),
            Attribute(
                "Installed",
                date,
                ("{thing} was installed on {value}.",),
                ("When was {thing} installed?", "On which date was {thing} put in?"),
            ),
            Attribute(
                "Responsible",
                person,
                ("{value} looks after {thing}.", "Faults of {thing} go to {value}."),
                ("Who looks after {thing}?", "Who is responsible for {thing}?", "whom do I tell when {thing} breaks"),
            ),
        ),
    ),
    Kind(
        _house,
        ("Visitor information", "Opening hours", "Address book", "Town guide", "House rules"),
        (
            Attribute(
                "Opens",
                clock,
                ("{thing} opens at {value}.", "Doors of {thing} open at {value}."),
                ("When does {thing} open?", "At what time does {thing} open?", "opening time of {thing}"),
            ),
            Attribute(
                "Closes",
                clock,
                ("{thing} closes at {value}.", "It shuts at {value}."),
                ("When does {thing} close?", "Until when is {thing} open?", "what time does {thing} shut"),
            ),
            Attribute(
                "Open days", days, ("{thing} is open {value}.",), ("On which days is {thing} open?", "What days is {thing} open?")
            ),
            Attribute(
                "Admission",
                price,
                ("A ticket for {thing} costs {value}.", "Admission to {thing} is {value}."),
                ("How much is a ticket for {thing}?", "What does {thing} cost to visit?", "admission price {thing}?"),
            ),
            Attribute(
                "Address",
                place,
                ("{thing} is at {value}.", "You find {thing} at {value}."),
                ("Where is {thing}?", "What is the address of {thing}?"),
            ),
            Attribute(
                "Telephone",
                phone,
                ("Call {thing} on {value}.", "The telephone of {thing} is {value}."),
                ("What is the phone number of {thing}?", "How do I reach {thing} by phone?"),
            ),
            Attribute(
                "Director",
                person,
                ("{thing} is run by {value}.", "{value} directs {thing}."),
                ("Who runs {thing}?", "Who is the director of {thing}?"),
            ),
            Attribute(
                "Founded",
                lambda r: str(r.randrange(1720, 2024)),
                ("{thing} was founded in {value}.", "Its doors first opened in {value}."),
                ("When was {thing} founded?", "In which year was {thing} founded?"),
            ),
        ),
    ),
    Kind(
        _article,
        ("Price list", "Catalogue", "Product page", "Order guide", "Warranty terms"),
        (
            Attribute(
                "Price",
                price,
                ("{thing} costs {value}.", "The price of {thing} is {value}."),
                ("How much is {thing}?", "What does {thing} cost?", "price of {thing}"),
            ),
            Attribute(
                "Article number",
                code,
                ("{thing} is listed under {value}.", "The article number of {thing} is {value}."),
                ("What is the article number of {thing}?", "Under which number is {thing} listed?"),
            ),
            Attribute(
                "Warranty",
                lambda r: r.choice((f"{r.randrange(2, 11)} years", f"{r.randrange(6, 60)} months")),
                ("{thing} has a warranty of {value}.",),
                ("How long is the warranty on {thing}?", "warranty period of {thing}?"),
            ),
            Attribute(
                "Colour",
                colour,
                ("{thing} comes in {value}.",),
                ("What colour is {thing}?", "In which colour does {thing} come?"),
            ),
            Attribute(
                "Delivery",
                lambda r: r.choice((f"{r.randrange(2, 30)} working days", f"{r.randrange(2, 9)} weeks")),
                ("Delivery of {thing} takes {value}.",),
                ("How long does delivery of {thing} take?", "When do I get {thing} after ordering?"),
            ),
            Attribute(
                "Material",
                lambda r: r.choice(
                    ("oak", "stainless steel", "recycled nylon", "wool", "cast iron", "birch plywood", "brass", "linen", "bamboo")
                ),
                ("{thing} is made of {value}.",),
                ("What is {thing} made of?", "material of {thing}?"),
            ),
            Attribute(
                "Size",
                lambda r: r.choice(
                    (f"{r.randrange(10, 99)} × {r.randrange(10, 99)} cm", number(r, "mm", 40, 2000), number(r, "litres", 2, 90))
                ),
                ("{thing} measures {value}.", "The size of {thing} is {value}."),
                ("How big is {thing}?", "What size is {thing}?"),
            ),
        ),
    ),
    Kind(
        _course,
        ("Programme", "Calendar", "Course catalogue", "Notice", "Minutes of the committee"),
        (
            Attribute(
                "Date",
                date,
                ("{thing} takes place on {value}.", "{thing} was held on {value}."),
                ("When does {thing} take place?", "On which date is {thing}?", "date of {thing}?"),
            ),
            Attribute(
                "Start", clock, ("{thing} begins at {value}.",), ("At what time does {thing} begin?", "When does {thing} start?")
            ),
            Attribute(
                "Place",
                place,
                ("{thing} meets in {value}.", "It is held in {value}."),
                ("Where is {thing} held?", "In which place does {thing} meet?"),
            ),
            Attribute(
                "Fee",
                price,
                ("The fee for {thing} is {value}.",),
                ("What is the fee for {thing}?", "How much does {thing} cost?"),
            ),
            Attribute(
                "Places",
                lambda r: str(r.randrange(6, 400)),
                ("{thing} takes {value} people.", "There are {value} places."),
                ("How many people can take part in {thing}?", "How many places does {thing} have?"),
            ),
            Attribute(
                "Led by",
                person,
                ("{thing} is led by {value}.", "{value} leads {thing}."),
                ("Who leads {thing}?", "Who is in charge of {thing}?"),
            ),
            Attribute(
                "Form",
                code,
                ("To sign up for {thing} use form {value}.",),
                ("Which form do I use to sign up for {thing}?", "sign-up form for {thing}?"),
            ),
        ),
    ),
    Kind(
        _trip,
        ("Timetable", "Service notice", "Fares", "Travel guide"),
        (
            Attribute(
                "Departs",
                clock,
                ("{thing} leaves at {value}.", "Departure of {thing} is at {value}."),
                ("When does {thing} leave?", "departure time of {thing}?"),
            ),
            Attribute(
                "Arrives",
                clock,
                ("{thing} arrives at {value}.",),
                ("When does {thing} arrive?", "What is the arrival time of {thing}?"),
            ),
            Attribute(
                "From", word, ("{thing} starts in {value}.",), ("Where does {thing} start?", "From where does {thing} go?")
            ),
            Attribute(
                "To",
                word,
                ("{thing} goes to {value}.", "The last stop of {thing} is {value}."),
                ("Where does {thing} go?", "What is the last stop of {thing}?"),
            ),
            Attribute(
                "Fare",
                price,
                ("A ride on {thing} costs {value}.",),
                ("What is the fare on {thing}?", "How much is a ride on {thing}?"),
            ),
            Attribute(
                "Platform",
                code,
                ("{thing} uses platform {value}.", "Board {thing} at {value}."),
                ("Which platform does {thing} use?", "Where do I board {thing}?"),
            ),
            Attribute(
                "Runs", days, ("{thing} runs {value}.",), ("On which days does {thing} run?", "How often does {thing} run?")
            ),
        ),
    ),
    Kind(
        _job,
        ("Staff list", "Who does what", "Contacts", "Duty roster"),
        (
            Attribute(
                "Office",
                place,
                ("{thing} works in {value}.", "The desk of {thing} is in {value}."),
                ("Where does {thing} work?", "Where is the desk of {thing}?"),
            ),
            Attribute(
                "Telephone", phone, ("{thing} answers on {value}.",), ("What is the number of {thing}?", "How do I call {thing}?")
            ),
            Attribute(
                "Duty", days, ("{thing} is on duty {value}.",), ("When is {thing} on duty?", "On which days does {thing} work?")
            ),
            Attribute(
                "Role",
                lambda r: r.choice(
                    (
                        "accountant",
                        "head of stores",
                        "safety officer",
                        "librarian",
                        "translator",
                        "chief engineer",
                        "night porter",
                        "trainer",
                        "press officer",
                        "buyer",
                    )
                ),
                ("{thing} is the {value}.", "{thing} works as {value}."),
                ("What is the role of {thing}?", "What does {thing} do?"),
            ),
            Attribute(
                "Deputy",
                person,
                ("{value} stands in for {thing}.", "The deputy of {thing} is {value}."),
                ("Who stands in for {thing}?", "Who is the deputy of {thing}?"),
            ),
            Attribute(
                "Since",
                lambda r: str(r.randrange(1990, 2026)),
                ("{thing} joined in {value}.",),
                ("When did {thing} join?", "Since when has {thing} been here?"),
            ),
            Attribute(
                "Badge",
                code,
                ("The badge of {thing} is {value}.",),
                ("What is the badge number of {thing}?", "badge of {thing}?"),
            ),
        ),
    ),
)


def sheet(rng: Draw, *, refused: float = 0.28) -> Sheet:
    """Passages on things of one kind, and questions on them; `refused` is the share of those that no passage answers."""
    kind = rng.choice(KINDS)
    count = rng.choice((1, 2, 3, 3, 4, 4))
    passages: list[PassageText] = []
    stated: list[tuple[Thing, int]] = []
    for number_ in range(1, count + 1):
        things = [_thing(kind, rng) for _ in range(rng.choice((1, 1, 1, 2, 4)))]
        stated += [(thing, number_) for thing in things]
        passages.append(_passage(kind, things, rng))
    asked = [_ask(kind, thing, row, place_, rng) for thing, place_ in stated for row in thing.values]
    asked = rng.sample(asked, min(len(asked), 10))
    wanted = round(len(asked) * refused / (1 - refused) + rng.random() - 0.5)
    return Sheet(tuple(passages), tuple(asked + _refused(kind, [thing for thing, _ in stated], wanted, rng)))


def _thing(kind: Kind, rng: Draw) -> Thing:
    chosen = rng.sample(kind.attributes, rng.randrange(2, min(6, len(kind.attributes)) + 1))
    return Thing(kind.name(rng), {attribute.row: attribute.value(rng) for attribute in chosen})


def _ask(kind: Kind, thing: Thing, row: str, place_: int, rng: Draw) -> Asked:
    attribute = next(attribute for attribute in kind.attributes if attribute.row == row)
    said = rng.choice([p for p in attribute.prose if "{thing}" in p] or [f"{row} of {{thing}}: {{value}}."])
    return Asked(question_on(attribute, thing.name, rng), place_, thing.values[row], filled(said, thing.name, thing.values[row]))


def question_on(attribute: Attribute, name: str, rng: Draw) -> str:
    """One of the attribute's questions on the thing `name`, at times in small letters or without its mark."""
    text = rng.choice(attribute.questions).replace("{thing}", definite(name))
    if rng.random() < 0.15:
        text = text.lower() if rng.random() < 0.5 else text.rstrip("?")
    return text[0].upper() + text[1:] if rng.random() < 0.85 else text


def filled(text: str, name: str, value: str = "") -> str:
    """`text` with thing and value filled in, and a capital first letter."""
    whole = text.replace("{thing}", definite(name)).replace("{value}", value)
    return whole[0].upper() + whole[1:]


def _refused(kind: Kind, things: Sequence[Thing], count: int, rng: Draw) -> list[Asked]:
    """Unanswerable questions: on a missing attribute of a shown thing, or on a thing that is not shown."""
    found = []
    for _ in range(max(0, count)):
        thing = rng.choice(things)
        missing = [a for a in kind.attributes if a.row not in thing.values]
        if missing and rng.random() < 0.6:
            found.append(Asked(question_on(rng.choice(missing), thing.name, rng), 0, ""))
        else:
            found.append(Asked(question_on(rng.choice(kind.attributes), kind.name(rng), rng), 0, ""))
    return found


def definite(name: str) -> str:
    """The name with `the` before a name that ends in a common noun."""
    return f"the {name}" if name.split()[-1].lower() in {*_THINGS, *_GOODS, *(t.lower() for t in _TRADES)} else name


def _passage(kind: Kind, things: Sequence[Thing], rng: Draw) -> PassageText:
    title = rng.choice(kind.titles)
    if len(things) == 1:
        title = rng.choice((f"{title} > {things[0].name}", f"{things[0].name} > {title}", f"{title} {things[0].name}"))
    form = rng.choice((_prose, _prose, _list, _table if len(things) > 1 else _prose))
    return PassageText(title, form(kind, things, rng))


def _prose(kind: Kind, things: Sequence[Thing], rng: Draw) -> str:
    said = []
    for thing in things:
        for place_, (row, value) in enumerate(thing.values.items()):
            attribute = next(attribute for attribute in kind.attributes if attribute.row == row)
            usable = [p for p in attribute.prose if place_ or "{thing}" in p] or [f"{row} of {{thing}}: {{value}}."]
            said.append(filled(rng.choice(usable), thing.name, value))
    return " ".join(said)


def _list(kind: Kind, things: Sequence[Thing], rng: Draw) -> str:
    mark = rng.choice(("- ", "", "* "))
    lines = []
    for thing in things:
        lines.append(thing.name)
        lines += [f"{mark}{row}: {value}" for row, value in thing.values.items()]
    return "\n".join(lines)


def _table(kind: Kind, things: Sequence[Thing], rng: Draw) -> str:
    rows = list(dict.fromkeys(row for thing in things for row in thing.values))
    lines = ["| " + " | ".join(["", *rows]) + " |", "|" + " --- |" * (len(rows) + 1)]
    lines += ["| " + " | ".join([thing.name, *(thing.values.get(row, "–") for row in rows)]) + " |" for thing in things]
    return "\n".join(lines)
