"""Units of measurement as they are written in documents: symbols and words, their kind, and their size in the kind's base unit.

A table of its own: the quantity libraries (pint, astropy, unyt) read unit expressions, not running text, and know no currency
sign before a number, no date and no time of day. What text needs beyond the arithmetic of a factor is in `quantities`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of `kind`: a value is `value · factor + offset` base units."""

    kind: str
    factor: Fraction
    offset: Fraction = Fraction(0)


_TABLE = """
length        1           m                  metre metres meter meters
length        1000        km                 kilometre kilometres kilometer kilometers
length        1/100       cm                 centimetre centimetres centimeter centimeters
length        1/1000      mm                 millimetre millimetres millimeter millimeters
length        1/1000000   µm,μm              micron microns micrometre micrometres
length        1852        nm,NM              nautical·mile nautical·miles
length        1609344/1000 -                 mile miles
length        3048/10000  ft                 feet
length        254/10000   -                  inch inches
length        9144/10000  -                  yard yards
area          1           m²,m2,m^2          square·metre square·metres sq·m
area          10000       ha                 hectare hectares
area          316160658/78125 -              acre acres
volume        1           m³,m3,m^3          cubic·metre cubic·metres cu·m
volume        1/1000      l,L                litre litres liter liters
volume        1/1000000   ml,mL              millilitre millilitres milliliter milliliters
volume        1/100000    cl                 centilitre centilitres
gallons       1           gal                gallon gallons
pints         1           pt                 pint pints
mass          1           kg                 kilo kilos kilogram kilograms kilogramme kilogrammes
mass          1/1000      g                  gram grams gramme grammes
mass          1/1000000   mg                 milligram milligrams
mass          1/1000000000 µg,μg             microgram micrograms
mass          1000        t                  tonne tonnes metric·ton metric·tons
mass          45359237/100000000 lb,lbs      -
mass          28349523125/1000000000000 oz   ounce ounces
time          1           s,sec,secs         second seconds
time          1/1000      ms                 millisecond milliseconds
time          60          min,mins           minute minutes
time          3600        h,hr,hrs           hour hours
time          86400       -                  day days
time          604800      -                  week weeks
time          1209600     -                  fortnight fortnights
months        1           -                  month months
months        12          yr,yrs             year years
latitude      1           °N,°·N             degrees·north degree·north
latitude      -1          °S,°·S             degrees·south degree·south
longitude     1           °E,°·E             degrees·east degree·east
longitude     -1          °W,°·W             degrees·west degree·west
temperature   1           °C,ºC,℃            degrees·celsius degree·celsius degrees·centigrade degrees·C deg·C
temperature   5/9         °F,ºF,℉            degrees·fahrenheit degree·fahrenheit degrees·F
temperature   1           -                  kelvin
degree        1           °,º                degree degrees deg
speed         1           m/s                -
speed         1852/3600   kn,kt,kts          knot knots
speed         1000/3600   km/h,kph,kmh       -
speed         1609344/3600000 mph            -
power         1           W                  watt watts
power         1/1000      mW                 milliwatt milliwatts
power         1000        kW                 kilowatt kilowatts
power         1000000     MW                 megawatt megawatts
power         1000000000  GW                 gigawatt gigawatts
power         7457/10     hp                 horsepower
energy        1           J                  joule joules
energy        1000        kJ                 kilojoule kilojoules
energy        3600        Wh                 watt-hour watt-hours watt·hours
energy        3600000     kWh                kilowatt-hour kilowatt-hours kilowatt·hour kilowatt·hours
energy        3600000000  MWh                megawatt-hour megawatt-hours megawatt·hours
apparent      1000        kVA                -
pressure      100000      bar                bars
pressure      100         mbar,hPa           millibar millibars
pressure      1           Pa                 pascal pascals
pressure      1000        kPa                kilopascal kilopascals
pressure      1000000     MPa                megapascal megapascals
pressure      6894757/1000 psi               -
force         1           N                  newton newtons
force         1000        kN                 kilonewton kilonewtons
torque        1           Nm,N·m             newton·metre newton·metres
voltage       1           V                  volt volts
voltage       1000        kV                 kilovolt kilovolts
voltage       1/1000      mV                 millivolt millivolts
current       1           A                  amp amps ampere amperes
current       1/1000      mA                 milliamp milliamps
charge        3600        Ah                 amp-hour amp-hours ampere-hours
resistance    1           Ω                  ohm ohms
resistance    1000000     MΩ                 megohm megohms
frequency     1           Hz                 hertz
frequency     1000        kHz                kilohertz
frequency     1000000     MHz                megahertz
frequency     1000000000  GHz                gigahertz
rotation      1           rpm,rev/min,r/min  revolutions·per·minute revs·per·minute
sound         1           dB,dBA,dB(A)       decibel decibels
light         1           lx                 lux
lumens        1           lm                 lumen lumens
dose          1           Sv                 sievert sieverts
dose          1/1000      mSv                millisievert millisieverts
dose          1/1000000   µSv,μSv            microsievert microsieverts
amount        1           mol                mole moles
amount        1/1000      mmol               millimole millimoles
era           1           AD,CE              -
era           -1          BC,BCE             -
data          1           -                  byte bytes
data          1000        kB,KB              kilobyte kilobytes
data          1000000     MB                 megabyte megabytes
data          1000000000  GB                 gigabyte gigabytes
data          1000000000000 TB               terabyte terabytes
data          125         kbit,kb            kilobit kilobits
data          125000      Mbit,Mb            megabit megabits
data          125000000   Gbit,Gb            gigabit gigabits
data/time     125         kbps               -
data/time     125000      Mbps               -
data/time     125000000   Gbps               -
share         1/100       %                  per·cent percent
share         1/1000      ‰                  per·mille
share         1/1000000   ppm                -
points        1           pp                 percentage·point percentage·points
money £       1           GBP,£              -
money £       1/100       p                  pence penny
money €       1           EUR,€              euro euros
money USD     1           USD                -
money $       1           $                  dollar dollars
money AUD     1           AUD                -
money CAD     1           CAD                -
money NZD     1           NZD                -
money c       1           -                  cent cents
money M       1           -                  mark marks
money kr      1           -                  kroner krone
money NOK     1           NOK                -
money DKK     1           DKK                -
money SEK     1           SEK                kronor krona
money JPY     1           JPY                yen
money ¥       1           ¥                  -
money CNY     1           CNY,RMB            yuan
money INR     1           INR,₹              rupee rupees
money CHF     1           CHF                franc francs swiss·franc swiss·francs
money PLN     1           PLN                zloty zlotys
"""
_OFFSETS = {"°F": Fraction(-160, 9), "kelvin": Fraction(-27315, 100)}
_FAHRENHEIT = ("ºF", "℉", "degrees fahrenheit", "degree fahrenheit", "degrees f")

SIGNS: Mapping[str, str] = {
    "£": "money £", "€": "money €", "$": "money $", "¥": "money ¥", "₹": "money INR", "US$": "money USD", "A$": "money AUD",
    "C$": "money CAD", "NZ$": "money NZD",
}  # fmt: skip
"""Signs of money that stand before a number, and their kind."""

_OWN_CODES = "USD AUD CAD NZD NOK DKK SEK JPY CNY INR CHF PLN"
CODES: Mapping[str, str] = {"M": "money M", "GBP": "money £", "EUR": "money €", "Rs": "money INR"} | {
    code: f"money {code}" for code in _OWN_CODES.split()
}
"""Words for money before a number, and their kind. `M` is the mark."""

LOOSE: Mapping[str, frozenset[str]] = {
    "degree": frozenset({"temperature", "latitude", "longitude"}),
    "money $": frozenset({"money USD", "money AUD", "money CAD", "money NZD"}),
    "money kr": frozenset({"money NOK", "money DKK"}),
    "money ¥": frozenset({"money JPY", "money CNY"}),
}
"""Kinds that say less than others: one of them equals each of the others, if written with the same digits."""

PAIRS: Mapping[tuple[str, str], str] = {("length", "time"): "speed", ("energy", "time"): "power"}
"""The kind of a quotient of two kinds, if it has a name of its own."""


def _read_table() -> tuple[dict[str, Unit], dict[str, Unit]]:
    symbols: dict[str, Unit] = {}
    words: dict[str, Unit] = {}
    for line in _TABLE.strip().splitlines():
        head, rest = line[:14].strip(), line[14:].split()
        kind = head
        factor, signs, *names = rest
        for sign in [] if signs == "-" else signs.split(","):
            offset = _OFFSETS["°F"] if sign in _FAHRENHEIT else _OFFSETS.get(sign, Fraction(0))
            symbols[sign.replace("·", " ") if sign != "N·m" else sign] = Unit(kind, Fraction(factor), offset)
        for name in [each for each in names if each != "-"]:
            word = name.replace("·", " ").lower()
            offset = _OFFSETS["°F"] if word in _FAHRENHEIT else _OFFSETS.get(word, Fraction(0))
            words[word] = Unit(kind, Fraction(factor), offset)
    return symbols, words


_SYMBOLS, _WORDS = _read_table()


def _alternatives(names: Mapping[str, Unit]) -> str:
    longest_first = sorted(names, key=len, reverse=True)
    return "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in longest_first)


UNIT = rf"(?:(?:{_alternatives(_SYMBOLS)})|(?i:{_alternatives(_WORDS)}))(?![\w²³])"
"""A regular expression for one unit; symbols by their case, words in any."""

WORD_UNIT = rf"(?i:{_alternatives(_WORDS)})(?!\w)"


def unit_named(name: str) -> Unit:
    """The unit that a match of `UNIT` names. Raises KeyError."""
    return _SYMBOLS[name] if name in _SYMBOLS else _WORDS[" ".join(name.lower().split())]
