"""The families of word problems of small-math: their numbers, equations and phrasings; 14 in distribution, 7 out of it."""

from dataclasses import dataclass

from aarlab.core.records import PartName

RANGES: dict[str, tuple[range, range, range]] = {  # what a number is drawn from, on levels 1, 2 and 3
    "few": (range(2, 10), range(3, 13), range(3, 10)),
    "amount": (range(2, 20), range(11, 100), range(100, 1_000)),
    "total": (range(20, 100), range(100, 1_000), range(1_000, 10_000)),
    "hundreds": (range(200, 2_000, 100), range(1_100, 10_000, 100), range(10_000, 100_000, 100)),
    "percent": (range(2, 20), range(2, 26), range(2, 10)),
}
WORDS = {
    "name": ("Anna", "Ben", "Carla", "David", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Leo", "Mina", "Noah"),
    "goods": ("pens", "notebooks", "mugs", "candles", "scarves", "lamps", "puzzles", "plates", "brushes", "baskets", "hats"),
    "fruit": ("apples", "pears", "plums", "lemons", "oranges", "peaches", "figs", "melons", "mangoes", "apricots"),
    "snacks": ("biscuits", "nuts", "grapes", "cherries", "raisins", "crackers", "sweets", "dates"),
    "pack": ("boxes", "crates", "bags", "trays", "cartons", "sacks"),
    "vehicle": ("train", "bus", "coach", "truck", "car", "van", "tram"),
    "place": ("Ashford", "Brill", "Corley", "Dunmore", "Elton", "Farley", "Granby", "Holme"),
    "yard": ("garden", "field", "meadow", "playground", "courtyard", "paddock", "vineyard"),
    "gear": ("bicycle", "tent", "guitar", "camera", "kayak", "telescope", "violin", "sofa"),
    "staple": ("flour", "sugar", "rice", "butter", "cheese", "honey"),
    "dish": ("soup", "stew", "bread", "porridge", "pie", "pudding", "curry"),
    "book": ("novel", "textbook", "manual", "biography", "cookbook", "guidebook", "thriller"),
    "show": ("concert", "play", "circus", "musical", "puppet show", "ballet"),
    "drink": ("coffee", "tea", "cocoa", "lemonade", "cider", "juice"),
    "crew": ("painters", "masons", "gardeners", "welders", "roofers", "carpenters"),
    "job": ("wall", "roof", "bridge", "barn", "fence", "tunnel"),
    "hall": ("stadium", "theatre", "cinema", "hangar", "library", "station"),
    "device": ("bulbs", "pumps", "valves", "batteries", "sensors", "fuses", "cables"),
    "ship": ("ferry", "freighter", "schooner", "tanker", "yacht", "trawler"),
}


@dataclass(frozen=True)
class Situation:
    """A family of word problems: numbers a, b, c, d of these RANGES, and equations whose results are x, y, z."""

    numbers: str
    steps: tuple[str, ...]
    phrasings: tuple[str, ...]


IN_DISTRIBUTION = {
    "change": Situation(
        "few amount total",
        ("a * b", "c - x"),
        (
            "{name} buys {a} {goods} at {b} dollars each and pays with {c} dollars. How many dollars of change are due?",
            "One of the {goods} costs {b} dollars. {name} has {c} dollars and buys {a} of them. How many dollars are left?",
            "With {c} dollars in the purse, {name} pays for {a} {goods} that cost {b} dollars each. How much money remains?",
        ),
    ),
    "shopping": Situation(
        "few amount amount",
        ("a * b", "x + c"),
        (
            "{name} buys {a} {goods} for {b} dollars each and a present for {c} dollars. What is the total price in dollars?",
            "In the shop {name} takes {a} {goods} at {b} dollars each. Delivery costs {c} dollars. How much is the whole bill?",
            "A card costs {c} dollars, and {goods} cost {b} dollars each. What do one card and {a} {goods} cost together?",
        ),
    ),
    "sharing": Situation(
        "total few amount",
        ("a / b", "x - c"),
        (
            "{b} children share {a} {snacks} equally. {name}, one of them, eats {c}. How many {snacks} has {name} left?",
            "{name} deals {a} {snacks} equally onto {b} plates. Then {c} are eaten from one plate. How many stay on it?",
            "A bowl of {a} {snacks} is split evenly among {b} friends. {name} gives {c} of one share away. How many remain?",
        ),
    ),
    "distance": Situation(
        "amount few amount",
        ("a * b", "c + x"),
        (
            "A {vehicle} has gone {c} kilometres. It goes on for {b} hours at {a} kilometres per hour. How far is it then?",
            "After {c} kilometres of side roads, a {vehicle} does {a} kilometres per hour for {b} hours. How long is the way?",
            "{name} cycles {c} kilometres, then takes a {vehicle} for {b} hours at {a} kilometres per hour. How far is that?",
        ),
    ),
    "perimeter": Situation(
        "amount amount amount",
        ("a + b", "x * 2", "y - c"),
        (
            "A {yard} is {a} metres by {b} metres. A fence runs round it, with a gap of {c} metres. How long is the fence?",
            "{name} fences in a {yard} of {a} by {b} metres. Of the border, {c} metres are done. How many metres are not?",
            "A {yard} measures {a} by {b} metres. A hedge covers {c} metres of its edge. How many metres of edge are bare?",
        ),
    ),
    "packs": Situation(
        "few amount amount",
        ("a * b", "x - c"),
        (
            "{name} gets {a} {pack} with {b} {fruit} in each. {c} of the {fruit} are rotten. How many {fruit} are good?",
            "There are {b} {fruit} in each of {a} {pack}. {name} sells {c} of the {fruit}. How many are unsold?",
            "{a} {pack} hold {b} {fruit} each. After {name} takes {c} {fruit} out, how many are still packed?",
        ),
    ),
    "ages": Situation(
        "amount amount amount",
        ("a + b", "a + x", "y + c"),
        (
            "In {place} the mill is {a} years old, the church {b} years older, the bridge {c} years old. What is the sum?",
            "An oak is {a} years old, a beech {b} years older, and a lime {c} years old. What is the sum of the three ages?",
            "In {place} the tower stood for {a} years, the wall for {b} years more, the gate for {c} years. What is the total?",
        ),
    ),
    "saving": Situation(
        "amount few total",
        ("c - a", "x / b"),
        (
            "{name} wants a {gear} for {c} dollars, has {a} dollars and saves {b} dollars per week. How many weeks is that?",
            "A {gear} costs {c} dollars. {name} owns {a} dollars and saves {b} a week. After how many weeks is it enough?",
            "Each week {name} saves {b} dollars. There are {a} already, and a {gear} costs {c}. How many weeks are needed?",
        ),
    ),
    "discount": Situation(
        "amount amount few",
        ("a - b", "x * c"),
        (
            "A {gear} costs {a} dollars, but today it is {b} dollars cheaper. What do {c} of them cost today?",
            "The price of a {gear} was {a} dollars and falls by {b} dollars. How much does a club pay for {c} of them?",
            "With a voucher, each {gear} is {b} dollars off the usual {a} dollars. {name} orders {c}. What is the bill?",
        ),
    ),
    "recipe": Situation(
        "total few few",
        ("a / b", "x * c"),
        (
            "To make {dish} for {b} people, {name} needs {a} grams of {staple}. How many grams are needed for {c} people?",
            "A recipe of {dish} for {b} guests asks for {a} grams of {staple}. How much {staple} do {c} guests need?",
            "{name} uses {a} grams of {staple} in {b} bowls of {dish}. How many grams go into {c} bowls?",
        ),
    ),
    "reading": Situation(
        "amount amount total",
        ("a + b", "c - x"),
        (
            "A {book} has {c} pages. {name} reads {a} pages on Monday and {b} on Tuesday. How many pages are left?",
            "{name} has read {a} pages of a {book} with {c} pages, and reads {b} more. How many pages are unread?",
            "Of the {c} pages of a {book}, {name} read {a} last week and {b} this week. How many are still to read?",
        ),
    ),
    "tickets": Situation(
        "few amount few amount",
        ("a * b", "c * d", "x + y"),
        (
            "For a {show}, {name} buys {a} seats at {b} dollars and {c} seats at {d} dollars. What do all the seats cost?",
            "Seats at a {show} cost {b} dollars in front and {d} dollars behind. What do {a} front and {c} back seats cost?",
            "{name} sells {a} tickets of {b} dollars and {c} tickets of {d} dollars for a {show}. How much is taken in?",
        ),
    ),
    "sales": Situation(
        "amount amount few",
        ("a + b", "x * c"),
        (
            "A stall sells {a} cups of {drink} in the morning and {b} after noon, at {c} dollars a cup. What does it take in?",
            "{name} sells {a} glasses of {drink}, a neighbour sells {b}. A glass costs {c} dollars. What do both earn?",
            "On Saturday {a} people and on Sunday {b} people order {drink} at {c} dollars. How much is paid on both days?",
        ),
    ),
    "passengers": Situation(
        "amount amount amount",
        ("a - b", "x + c"),
        (
            "There are {a} people on a {vehicle}. In {place} {b} get off and {c} get on. How many are on board then?",
            "A {vehicle} leaves with {a} passengers. At the next stop {b} leave and {c} join. How many passengers are there?",
            "Of {a} passengers of a {vehicle}, {b} get out in {place}, where {c} new ones come in. How many travel on?",
        ),
    ),
}
OUT_OF_DISTRIBUTION = {
    "units of time": Situation(
        "amount amount amount",
        ("a * 7", "x + b", "y - c"),
        (
            "A {ship} is away for {a} weeks and {b} days, of which {c} days are in port. How many days is it at sea?",
            "The voyage of a {ship} takes {a} weeks and {b} days. {c} of the days are stormy. How many days are calm?",
            "A {ship} was built in {a} weeks and {b} days. Work rested on {c} of the days. On how many days was it worked on?",
        ),
    ),
    "average": Situation(
        "amount amount amount",
        ("a + b", "x + c", "y / 3"),
        (
            "In three tests {name} scores {a}, {b} and {c} points. What is the average score?",
            "Three parcels weigh {a}, {b} and {c} kilograms. What is their mean weight in kilograms?",
            "The well gave {a} litres on Monday, {b} on Tuesday and {c} on Wednesday. What is the mean per day in litres?",
        ),
    ),
    "percent": Situation(
        "hundreds percent",
        ("a / 100", "x * b"),
        (
            "The {hall} of {place} has {a} chairs. {b} percent of them are taken. How many chairs are taken?",
            "Of {a} visitors to the {hall} in {place}, {b} percent come by boat. How many visitors come by boat?",
            "A poll asks {a} people about a new {hall} in {place}. {b} percent say no. How many people say no?",
        ),
    ),
    "rate of work": Situation(
        "amount few few",
        ("a * b", "x / c"),
        (
            "{b} {crew} finish a {job} in {a} days. In how many days would {c} {crew} finish it?",
            "A {job} takes {b} {crew} {a} hours. How many hours does it take {c} {crew} at the same pace?",
            "If {b} {crew} need {a} days for a {job}, how many days do {c} {crew} need?",
        ),
    ),
    "area difference": Situation(
        "amount few amount few",
        ("a * b", "c * d", "x - y"),
        (
            "A sheet of {a} by {b} centimetres has a hole of {c} by {d} centimetres. What area is left in square centimetres?",
            "A floor is {a} by {b} metres. A rug of {c} by {d} metres lies on it. How many square metres are not covered?",
            "From a board of {a} by {b} inches {name} saws a piece of {c} by {d} inches. What area remains in square inches?",
        ),
    ),
    "fraction": Situation(
        "total few amount",
        ("a / b", "a - x", "y - c"),
        (
            "One in {b} of {a} {device} is faulty, and {c} of the others are lost. How many good {device} are there?",
            "A firm makes {a} {device}. It scraps one of every {b} and ships {c} of the rest. How many {device} does it keep?",
            "Of {a} {device}, one in {b} fails the check. Then {c} that passed are used. How many that passed are unused?",
        ),
    ),
    "volume": Situation(
        "amount few few",
        ("a * b", "x * c"),
        (
            "A tank is {a} feet long, {b} feet wide and {c} feet deep. What is its volume in cubic feet?",
            "Cubes of one inch fill a chest of {a} by {b} by {c} inches. How many cubes are in it?",
            "A stack of bricks is {a} bricks long, {b} bricks wide and {c} bricks high. How many bricks are in it?",
        ),
    ),
}
SITUATIONS: dict[PartName, dict[str, Situation]] = {"id": IN_DISTRIBUTION, "ood": OUT_OF_DISTRIBUTION}
