"""Conversations by rule, in plain English, that teach harmony to a language model that knows none.

    python3 bench/tuning/conversations.py OUT [--rows 12000] [--seed 1] [--reasoning en|de]

writes OUT/train.jsonl, OUT/valid.jsonl and OUT/held-out.jsonl in the columns of OpenAI's fine-tuning with `thinking`
beside: requests that one of some functions answers, results told, questions about a short text, records out of a
sentence, small sums, talk. What is held out has values (names, cities, numbers, things) that no training row has:
those whose checksum is 0 modulo 10. Each row of held-out.jsonl is the last turn's prompt with `expected` beside: the
call, or what the answer must be. One in ten functions is held out whole; `is_new` marks rows that ask for one.
"""

import argparse
import json
import pathlib
import random
import zlib

EFFORTS = ("low", "medium", "high")

NAMES = """Alice Amir Anna Ben Bianca Boris Carla Chen Clara Daniel Diego Dora Elena Emil Erik Fatima Felix Fiona Gita Greta Hana
Hugo Ines Ivan Jack Jana Jonas Julia Kai Karim Kate Lars Leila Leo Lena Lucas Maria Marco Maya Mia Nadia Nina Noah Olga Omar Oscar
Paula Pedro Petra Priya Rania Remy Rosa Ruth Sami Sara Simon Sofia Tara Theo Tim Uma Vera Victor Wanda Yara Yusuf Zoe""".split()
CITIES = """Athens Austin Bergen Berlin Bogota Boston Bremen Bristol Cairo Chicago Cologne Dallas Delhi Denver Dublin Geneva Genoa Glasgow
Hamburg Hanoi Helsinki Houston Istanbul Kyoto Lagos Leeds Leipzig Lima Lisbon Liverpool London Lyon Madrid Malaga Manila Miami Milan
Montreal Moscow Munich Nairobi Naples Oslo Oxford Paris Porto Prague Quito Riga Rome Seattle Seoul Seville Sofia Sydney Tokyo Toronto
Turin Valencia Vienna Vilnius Warsaw York Zurich""".split()
THINGS = """apples bananas books bottles bowls boxes candles carrots chairs coats cups desks envelopes eggs forks glasses gloves hats jars
keys knives lamps lemons mirrors mugs notebooks onions oranges pans pears pencils pens pillows plates potatoes rulers scarves shirts
shoes shovels socks spoons stamps tables tickets tomatoes towels umbrellas vases watches""".split()
COLORS = "black blue brown gray green orange pink purple red silver white yellow".split()
ROOMS = "attic balcony basement bathroom bedroom garage garden hall kitchen library office porch studio".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
SONGS = ["Blue River", "Golden Hour", "Home Again", "Little Bird", "Morning Light", "Night Train", "Open Sky", "Paper Moon", "Quiet Streets", "Red Balloon",
         "Silver Rain", "Slow Dance", "Summer Road", "The Long Walk", "Winter Song", "Yellow Door"]
CURRENCIES = "dollars euros francs kroner pesos pounds rupees yen".split()
LANGUAGES = "Arabic Chinese Dutch English French German Greek Hindi Italian Japanese Polish Portuguese Russian Spanish Swedish Turkish".split()
PHRASES = ["good morning", "thank you", "see you soon", "where is the station", "the bill, please", "happy birthday", "how are you", "I am hungry",
           "open the window", "my name is long", "it is raining", "we are late", "have a nice day", "call me tomorrow"]
SUBJECTS = ["the picnic", "the budget", "the new office", "the school trip", "the garden", "the meeting notes", "the broken printer", "the concert", "the move", "the holiday"]


def held(value):
    return zlib.crc32(str(value).lower().encode()) % 10 == 0


class Draw:
    """Random choices of one split: training never draws a value that is held out, evaluation nothing else."""

    def __init__(self, seed, test):
        self.r, self.test = random.Random(seed), test

    def of(self, values):
        part = [value for value in values if held(value) == self.test]
        return self.r.choice(part or list(values))

    def number(self, low, high):
        return self.of(range(low, high + 1))

    def time(self):
        return f"{self.number(1, 12)}:{self.r.choice(('00', '15', '30', '45'))} {self.r.choice(('am', 'pm'))}"

    def any(self, values):
        return self.r.choice(values)


def text(description):
    return {"type": "string", "description": description}


def whole(description):
    return {"type": "integer", "description": description}


# A function: its name, what it does, its parameters, how they are drawn, how people ask for it, what comes back of it, how that is told.
FUNCTIONS = [
    ("get_weather", "Get the weather of a city.", {"city": text("Name of the city")}, lambda d: {"city": d.of(CITIES)},
     ["What is the weather in {city}?", "How is the weather in {city} today?", "Is it warm in {city}?", "Tell me the weather for {city}.", "Do I need a coat in {city}?"],
     lambda d, a: {"sky": d.any(["sunny", "cloudy", "rainy", "windy"]), "degrees": d.number(-5, 35)}, "It is {sky} in {city}, with {degrees} degrees."),
    ("get_time", "Get the local time of a city.", {"city": text("Name of the city")}, lambda d: {"city": d.of(CITIES)},
     ["What time is it in {city}?", "Tell me the time in {city}.", "How late is it in {city} now?", "What is the local time in {city}?"],
     lambda d, a: {"time": d.time()}, "It is {time} in {city}."),
    ("set_light", "Turn the light of a room on or off.", {"room": text("Name of the room"), "state": {"type": "string", "enum": ["on", "off"]}},
     lambda d: {"room": d.of(ROOMS), "state": d.any(["on", "off"])},
     ["Turn {state} the light in the {room}.", "Switch the {room} light {state}.", "Please turn the light in the {room} {state}.", "The light in the {room} should be {state}."],
     lambda d, a: {"ok": True}, "The light in the {room} is {state}."),
    ("set_alarm", "Set an alarm.", {"time": text("When it rings")}, lambda d: {"time": d.time()},
     ["Wake me at {time}.", "Set an alarm for {time}.", "I have to get up at {time}.", "Can you set my alarm to {time}?"],
     lambda d, a: {"ok": True}, "Your alarm is set for {time}."),
    ("send_message", "Send a message to a person.", {"to": text("Name of the person"), "body": text("What the message says")},
     lambda d: {"to": d.of(NAMES), "body": d.of(PHRASES)},
     ["Send {to} a message: {body}.", "Write \"{body}\" to {to}.", "Text {to} that says {body}.", "Please tell {to}: {body}."],
     lambda d, a: {"sent": True}, "I sent your message to {to}."),
    ("call_person", "Call a person on the phone.", {"name": text("Name of the person")}, lambda d: {"name": d.of(NAMES)},
     ["Call {name}.", "Please phone {name}.", "I want to talk to {name} on the phone.", "Give {name} a ring."],
     lambda d, a: {"connected": True}, "I am calling {name}."),
    ("play_song", "Play a song.", {"title": text("Title of the song")}, lambda d: {"title": d.of(SONGS)},
     ["Play {title}.", "I want to hear {title}.", "Put on the song {title}.", "Can you play {title} for me?"],
     lambda d, a: {"playing": True}, "Now playing {title}."),
    ("convert_currency", "Convert an amount of money into another currency.",
     {"amount": whole("How much"), "from": text("Currency that it is in"), "to": text("Currency that is wanted")},
     lambda d: dict(zip(("amount", "from", "to"), (d.number(2, 900), *d.r.sample(CURRENCIES, 2)))),
     ["How much is {amount} {from} in {to}?", "Convert {amount} {from} to {to}.", "What are {amount} {from} worth in {to}?", "Change {amount} {from} into {to}."],
     lambda d, a: {"result": d.number(2, 900)}, "{amount} {from} are {result} {to}."),
    ("translate", "Translate a phrase into a language.", {"phrase": text("What to translate"), "language": text("Language that is wanted")},
     lambda d: {"phrase": d.of(PHRASES), "language": d.of(LANGUAGES)},
     ["How do you say \"{phrase}\" in {language}?", "Translate \"{phrase}\" into {language}.", "What is \"{phrase}\" in {language}?", "I need \"{phrase}\" in {language}."],
     None, None),
    ("add_to_list", "Add things to the shopping list.", {"item": text("What to buy"), "quantity": whole("How many")},
     lambda d: {"item": d.of(THINGS), "quantity": d.number(2, 60)},
     ["Add {quantity} {item} to my shopping list.", "Put {quantity} {item} on the list.", "We need {quantity} {item}, write it down.", "I have to buy {quantity} {item}."],
     lambda d, a: {"ok": True}, "I added {quantity} {item} to your list."),
    ("book_table", "Book a table in a restaurant.", {"city": text("Name of the city"), "people": whole("How many people"), "day": text("Day of the week")},
     lambda d: {"city": d.of(CITIES), "people": d.number(2, 14), "day": d.of(DAYS)},
     ["Book a table for {people} in {city} on {day}.", "I need a table in {city} for {people} people on {day}.", "On {day} we eat in {city}, {people} of us: book a table.",
      "Get me a table for {people} on {day} in {city}."],
     lambda d, a: {"booked": True}, "Your table for {people} in {city} is booked for {day}."),
    ("find_train", "Find a train between two cities.", {"from": text("City where it starts"), "to": text("City where it ends"), "day": text("Day of the week")},
     lambda d: dict(zip(("from", "to", "day"), (d.of(CITIES), d.of(CITIES), d.of(DAYS)))),
     ["Find a train from {from} to {to} on {day}.", "I want to travel from {from} to {to} on {day} by train.", "Which train goes to {to} from {from} on {day}?",
      "On {day} I must get from {from} to {to}. Is there a train?"],
     lambda d, a: {"departs": d.time()}, "A train from {from} to {to} leaves on {day} at {departs}."),
    ("create_event", "Write an event into the calendar.", {"title": text("What it is"), "day": text("Day of the week"), "time": text("When it begins")},
     lambda d: {"title": f"{d.any(['lunch', 'dinner', 'meeting', 'call', 'tennis', 'coffee'])} with {d.of(NAMES)}", "day": d.of(DAYS), "time": d.time()},
     ["Put {title} on {day} at {time} in my calendar.", "Plan {title} for {day} at {time}.", "I have {title} on {day} at {time}, note it.", "Add {title} on {day}, {time}."],
     lambda d, a: {"ok": True}, "I noted {title} on {day} at {time}."),
    ("set_temperature", "Set the temperature of a room.", {"room": text("Name of the room"), "degrees": whole("Degrees Celsius")},
     lambda d: {"room": d.of(ROOMS), "degrees": d.number(12, 29)},
     ["Set the {room} to {degrees} degrees.", "Make the {room} {degrees} degrees warm.", "I want {degrees} degrees in the {room}.", "Heat the {room} to {degrees} degrees."],
     lambda d, a: {"ok": True}, "The {room} is set to {degrees} degrees."),
    ("start_timer", "Start a timer.", {"minutes": whole("How long")}, lambda d: {"minutes": d.number(2, 90)},
     ["Start a timer for {minutes} minutes.", "Tell me when {minutes} minutes are over.", "Count down {minutes} minutes.", "Timer, {minutes} minutes please."],
     lambda d, a: {"ok": True}, "Your timer runs for {minutes} minutes."),
    ("search_mail", "Search the mail of the user.", {"subject": text("What it is about")}, lambda d: {"subject": d.of(SUBJECTS)},
     ["Find the mail about {subject}.", "Did anybody write about {subject}?", "Look for mails about {subject}.", "Search my mail for {subject}."],
     lambda d, a: {"found": d.number(1, 30)}, "I found {found} mails about {subject}."),
    ("get_stock", "Tell how many of a thing are in stock.", {"item": text("Name of the thing")}, lambda d: {"item": d.of(THINGS)},
     ["How many {item} are in stock?", "Do we have any {item} left?", "Check the stock of {item}.", "Count our {item}."],
     lambda d, a: {"count": d.number(0, 400)}, "There are {count} {item} in stock."),
    ("order_item", "Order a thing in a color.", {"item": text("Name of the thing"), "color": text("Its color"), "quantity": whole("How many")},
     lambda d: {"item": d.of(THINGS), "color": d.of(COLORS), "quantity": d.number(2, 40)},
     ["Order {quantity} {color} {item}.", "Please buy {quantity} {color} {item} for me.", "I would like {quantity} {item} in {color}.", "Get us {quantity} {color} {item}."],
     lambda d, a: {"order": d.number(100, 999)}, "I ordered {quantity} {color} {item}. The order is number {order}."),
    ("get_distance", "Get the distance between two cities.", {"from": text("First city"), "to": text("Second city")},
     lambda d: {"from": d.of(CITIES), "to": d.of(CITIES)},
     ["How far is it from {from} to {to}?", "What is the distance between {from} and {to}?", "How many kilometers are there from {from} to {to}?"],
     lambda d, a: {"kilometers": d.number(20, 9000)}, "It is {kilometers} kilometers from {from} to {to}."),
    ("open_window", "Open or close the window of a room.", {"room": text("Name of the room"), "action": {"type": "string", "enum": ["open", "close"]}},
     lambda d: {"room": d.of(ROOMS), "action": d.any(["open", "close"])},
     ["Please {action} the window in the {room}.", "Can you {action} the {room} window?", "I want you to {action} the window of the {room}."],
     lambda d, a: {"ok": True}, "Done. I used {action} on the window in the {room}."),
    ("get_birthday", "Get the birthday of a person.", {"name": text("Name of the person")}, lambda d: {"name": d.of(NAMES)},
     ["When is the birthday of {name}?", "When was {name} born?", "Tell me {name}'s birthday."],
     lambda d, a: {"day": d.number(1, 28), "month": d.any(["January", "March", "May", "July", "October"])}, "The birthday of {name} is on {month} {day}."),
    ("rent_car", "Rent a car in a city for some days.", {"city": text("Name of the city"), "days": whole("How many days")},
     lambda d: {"city": d.of(CITIES), "days": d.number(2, 30)},
     ["Rent a car in {city} for {days} days.", "I need a car for {days} days in {city}.", "Get me a car in {city}, {days} days."],
     lambda d, a: {"price": d.number(40, 900)}, "A car in {city} for {days} days costs {price} dollars."),
]
# Held out whole: the model learns nothing of them.
NEW_FUNCTIONS = {"rent_car", "get_birthday"}


def spec(function):
    name, description, parameters = function[:3]
    schema = {"type": "object", "properties": parameters, "required": list(parameters), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def thoughts(lang, effort, english, german):
    """Each is up to three sentences: low effort thinks the first, high all of them."""
    sentences = (german if lang == "de" else english)[: {"low": 1, "medium": 2, "high": 3}[effort]]
    return " ".join(sentences)


def function_row(d, lang, effort):
    known = [f for f in FUNCTIONS if f[0] not in NEW_FUNCTIONS]
    chosen = d.any(FUNCTIONS if d.test else known)
    others = [f for f in known if f[0] != chosen[0]]
    tools = d.r.sample(others, d.r.randint(0, 3)) + [chosen]
    d.r.shuffle(tools)
    name, _, parameters, draw, asks, result, told = chosen
    arguments = draw(d)
    question = d.any(asks).format(**arguments)
    listed = ", ".join(f"{key} {value}" for key, value in arguments.items())
    thinking = thoughts(lang, effort,
        [f"The function {name} answers this.", f"Its arguments are {listed}.", f"Nothing else of the {len(tools)} I have fits, so I call it once."],
        [f"Die Funktion {name} beantwortet das.", f"Ihre Argumente sind {listed}.", f"Von den {len(tools)}, die ich habe, passt keine andere; ich rufe sie einmal auf."])
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    messages = [{"role": "user", "content": question}, {"role": "assistant", "thinking": thinking, "tool_calls": [call]}]
    row = {"tools": [spec(tool) for tool in tools], "messages": messages}
    expected = {"call": name, "arguments": arguments, "is_new": name in NEW_FUNCTIONS}
    if result and d.r.random() < 0.4:
        back = result(d, arguments)
        answer = told.format(**arguments, **back)
        thinking = thoughts(lang, effort, ["The result is here.", "I tell it in one sentence.", "Nothing is left to call."],
                            ["Das Ergebnis ist da.", "Ich sage es in einem Satz.", "Es ist nichts mehr aufzurufen."])
        messages += [{"role": "tool", "tool_call_id": "call_1", "content": json.dumps(back)},
                     {"role": "assistant", "thinking": thinking, "content": answer}]
        expected = {"answer": answer, "is_new": name in NEW_FUNCTIONS}
    return row, expected


def plain_row(question, answer, thinking):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "thinking": thinking, "content": answer}]}, {"answer": answer, "is_new": False}


def reading_row(d, lang, effort):
    people = d.r.sample([name for name in NAMES if held(name) == d.test], 3)
    kind = d.any(["city", "color", "count"])
    if kind == "city":
        facts = [(p, d.of(CITIES)) for p in people]
        lines, ask, answer = [f"{p} lives in {x}." for p, x in facts], "Where does {} live?", "{} lives in {}."
    elif kind == "color":
        facts = [(p, f"{d.of(COLORS)} {d.any(['car', 'house', 'bike', 'bag'])}") for p in people]
        lines, ask, answer = [f"{p} has a {x}." for p, x in facts], "What does {} have?", "{} has a {}."
    else:
        facts = [(p, f"{d.number(2, 60)} {d.of(THINGS)}") for p in people]
        lines, ask, answer = [f"{p} bought {x}." for p, x in facts], "What did {} buy?", "{} bought {}."
    person, value = d.any(facts)
    thinking = thoughts(lang, effort, [f"The text says: {lines[people.index(person)]}", f"So the answer for {person} is {value}.", "The other two people are not asked about."],
                        [f"Im Text steht: {lines[people.index(person)]}", f"Die Antwort zu {person} ist also {value}.", "Nach den beiden anderen wird nicht gefragt."])
    return plain_row(" ".join(lines) + " " + ask.format(person), answer.format(person, value), thinking)


def record_row(d, lang, effort):
    name, city, quantity, item = d.of(NAMES), d.of(CITIES), d.number(2, 60), d.of(THINGS)
    sentence = d.any(["{n} from {c} orders {q} {i}.", "{n} would like {q} {i}, sent to {c}.", "Please send {q} {i} to {n} in {c}.", "An order: {q} {i} for {n}, {c}."])
    sentence = sentence.format(n=name, c=city, q=quantity, i=item)
    answer = json.dumps({"name": name, "city": city, "item": item, "quantity": quantity})
    thinking = thoughts(lang, effort, ["I copy the four fields.", f"The name is {name} and the city is {city}.", f"They want {quantity} {item}."],
                        ["Ich schreibe die vier Felder ab.", f"Der Name ist {name} und die Stadt {city}.", f"Bestellt sind {quantity} {item}."])
    return plain_row(f"Give name, city, item and quantity as JSON: {sentence}", answer, thinking)


def sum_row(d, lang, effort):
    a, b = d.r.randint(1, 20), d.r.randint(1, 20)
    name, item = d.of(NAMES), d.of(THINGS)
    if d.r.random() < 0.5:
        question, total, sign = f"{name} has {a} {item} and gets {b} more. How many {item} does {name} have now?", a + b, "+"
    else:
        a = max(a, b) + d.r.randint(0, 5)
        question, total, sign = f"{name} has {a} {item} and gives {b} away. How many {item} does {name} have now?", a - b, "-"
    thinking = thoughts(lang, effort, [f"{a} {sign} {b} = {total}.", f"So {name} has {total} {item}.", "I answer with the number."],
                        [f"{a} {sign} {b} = {total}.", f"{name} hat also {total} {item}.", "Ich antworte mit der Zahl."])
    return plain_row(question, f"{name} has {total} {item} now.", thinking)


def talk_row(d, lang, effort):
    name = d.of(NAMES)
    question, answer = d.any([
        (f"Hello, I am {name}.", f"Hello {name}! How can I help you?"), (f"Hi! My name is {name}.", f"Hello {name}! How can I help you?"),
        (f"Thank you, says {name}.", f"You are welcome, {name}!"), (f"Good night from {name}.", f"Good night, {name}!"),
        (f"Write a greeting for {name}.", f"Dear {name}, I hope you are well."), (f"Say goodbye to {name}.", f"Goodbye, {name}!")])
    thinking = thoughts(lang, effort, ["This is small talk.", f"I am kind and use the name {name}.", "No function is needed."],
                        ["Das ist ein kurzes Gespräch.", f"Ich bin freundlich und nenne den Namen {name}.", "Eine Funktion ist nicht nötig."])
    return plain_row(question, answer, thinking)


KINDS = ((function_row, 50), (reading_row, 18), (record_row, 14), (sum_row, 10), (talk_row, 8))


def row(d, lang):
    make = d.r.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
    effort = d.any(EFFORTS)
    made, expected = make(d, lang, effort)
    if lang == "de":
        made["messages"].insert(0, {"role": "developer", "content": "Reasoning language: German"})
    made["reasoning_effort"] = effort
    return made, expected | {"kind": make.__name__.removesuffix("_row")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=12000)
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reasoning", choices=("en", "de"), default="en")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    draws = {"train": (Draw(asked.seed, False), asked.rows), "valid": (Draw(asked.seed + 1, True), asked.held_out)}
    for name, (draw, count) in draws.items():
        with open(asked.out / f"{name}.jsonl", "w") as file:
            for _ in range(count):
                file.write(json.dumps(row(draw, asked.reasoning)[0], ensure_ascii=False) + "\n")
    draw = Draw(asked.seed + 2, True)
    with open(asked.out / "held-out.jsonl", "w") as file:
        for _ in range(asked.held_out):
            made, expected = row(draw, asked.reasoning)
            made["messages"].pop()
            file.write(json.dumps(made | {"expected": expected}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
