"""Which words and sentences does the generator draw from? Lists only; the rules are in generate.py."""

VERBS = """get fetch find set create delete update send book cancel open close start stop check list add remove move copy play order print scan share
save load lock unlock paint clean count measure rename track sort pay rate invite assign reserve convert translate search show read write call ring
build repair rent sell buy wash cook bake plant water feed pack ship refund approve reject archive export import mute pin block enable disable reset
verify sign draw record compare merge split download estimate log pause resume""".split()

NOUNS = """weather ticket invoice room flight lamp door window song movie book recipe garden robot drone parcel order account password photo album
note task meeting event contact message letter email report chart table file folder backup server printer sensor alarm timer clock heater fan light
lock gate garage car bus train bike boat taxi hotel hostel cabin tent stove oven fridge salad soup tea juice menu bill payment refund coupon price
stock bond fund loan salary tax budget goal habit workout run walk swim game match score team player coach league course lesson exam grade school
museum gallery concert poll vote survey form badge medal prize gift card poster banner label tag sticker shirt shoe hat coat dress ring watch phone
tablet screen mouse cable charger engine wheel tyre brake map route trip visa passport permit license contract policy claim case patient doctor pill
clinic pet cat dog horse cow sheep bird fish tree flower seed crop field farm barn tractor well pump pipe valve tank tower bridge road street park
bench statue fountain lake river island beach cave mountain planet star moon rocket signal channel video stream guitar piano drum""".split()

# Parameters by the kind of value that they take.
PARAM_KINDS = [(k, v.split()) for k, v in (line.split(":") for line in """place: city place country region street location
place: from to source target destination
proper: name owner user artist author company brand team group person
text: title topic subject label reason theme material flavor genre model message note
text: text category item nickname shape
integer: count floor year month day hour minute page version seat gate row shelf port level
number: amount price weight height length width limit temperature duration distance rating speed
code: code id serial token zip phone batch
enum: color size status priority mode quality unit format type
date: date date start_date due_date
time: time time start_time
email: email email
boolean: urgent active public private open""".split("\n"))]
PARAMS = [p for _, names in PARAM_KINDS for p in names]

CHOICES = """red green blue black white small medium large low high fast slow hot cold soft hard new old round square north south east west left right
first second light dark daily weekly monthly gold silver bronze cash card air sea land wood steel glass sweet sour mild spicy celsius fahrenheit
metric imperial draft final public private""".split()

PLACES = """Paris London Tokyo Oslo Lima Rome Madrid Berlin Cairo Delhi Dublin Lagos Boston Denver Austin Seattle Toronto Sydney Vienna Prague Warsaw
Athens Lisbon Helsinki Geneva Zurich Munich Milan Naples Kyoto Osaka Seoul Bogota Havana Nairobi Quito Accra Dakar Riga""".split()

NAMES = """Anna Ben Carla David Emma Felix Grace Hugo Ida Jonas Karin Leo Maria Nils Olga Paul Rosa Sven Tina Victor Wendy Yara Zoe Alice Bob Omar
Nina Ravi Mei Ken Lucy Mark Jane Tom Kate Sam Peter Ella Jack Lily""".split()

LANGUAGES = "English French German Spanish Italian Swedish Polish Dutch Greek Latin".split()

CURRENCIES = "USD EUR GBP JPY CHF SEK NOK INR CAD AUD CNY BRL MXN PLN".split()

OUT_OF_DOMAIN = """What is the capital of {X}?|Who is the president of {X}?|Who wrote {X}?|Write a poem about {n}.|Write a short story about a {n}.
Tell me a joke.|Tell me a joke about {n}.|Explain {X} to me.|Explain how a {n} works.|Why is the sky blue?|Why do {n}s exist?|How do I {v} a {n}?
What is the meaning of life?|Translate "{w} {w}" into French.|Translate this to German: the {n} is {c}.|Write a Python function to {v} a {n}.
Write code that sorts a list.|Fix this code: print({w})|Summarise the book {X}.|What happened in {y}?|When was {X} born?|When did the war end?
How far is the moon?|How old is {X}?|How tall is {X}?|What should I cook tonight?|Give me a recipe for {n} soup.|Who won the game yesterday?
What is your favourite colour?|Do you like {n}s?|Can you see pictures?|Draw me a {n}.|Sing a song.|What is the best {n}?|Recommend a {n} for my {n}.
My {n} is broken, what should I do?|I feel sad today.|I am bored.|What is love?|Is {X} a good city?|Where is {X}?|Where can I buy a {n}?
Plan a trip to {X}.|What time is it?|What is the weather in {X}?|What day is it today?|Describe a {n}.|Define {w}.|What does {w} mean?
Give me ten ideas for a {n}.|Write an email to {X}.|Write a letter to my {n}.|Compare {n}s and {n}s for me please.|Is it safe to {v} a {n}?
What is quantum physics?|Explain relativity.|What is DNA?|Who invented the {n}?|Who discovered {X}?|How many people live in {X}?|Name three {n}s.
Which language is spoken in {X}?|Are you able to {v} a {n}?|Please {v} my {n}.|Tell me about {X}.|Tell me something about {n}s.|Tell me a story.
What do you think about {X}?|Should I {v} my {n}?|Help me with my homework.|Help me {v} a {n}.|Can you help me write an essay?|Give me advice.
{X} is a {n}, right?|I think the {n} is {c}.|The {n} and the {n} went to {X}.|Why did {X} {v} the {n}?|asdf {w} {w}|{w}|{w} {w} {w}?
Let's talk about {n}s.|Play chess with me.|What is the square root of {d}?|What is {d} divided by {e}?|{d} / {e}|What is {e} to the power of {e}?
Solve x + {e} = {d}.|What is {D} + {D}?|{D} * {D}|What is {D} minus {d}?|Compute {d}.{e} times {e}.|{d} * {d}{e}|Read this article for me.
Search the web for {X}.|Open the {n}.|What is {d} / {e}?|{d} divided by {e}|Divide {d} by {e}.|How much is {d} divided by {e}?|How much is {d} / {e}?
What is half of {d}?|Square root of {d}|What is the root of {d}?|What is {e} squared?|What is {e} cubed?|{e} to the power of {e}|What is {e}% of {d}?
Is {d} a prime number?|Name a prime number.|Factor {d}.|Tell me who wrote {X}.|Tell me the capital of {X}.|capital of {X}|What's the capital of {X}?
Do you know the capital of {X}?|Who is {X}?|Who was {X}?|Who is the king of {X}?|Who is the mayor of {X}?|When did {X} die?|When was the {n} invented?
How old are you?|How old is the moon?|How do {n}s work?|How is a {n} made?|How do you {v} a {n}?|How can I {v} my {n}?|How much does a {n} cost?
How many {n}s are in {X}?|How far is {X}?|How far is it to {X}?|How big is {X}?|Why is {X} famous?|Why is the {n} {c}?|Why do people {v} {n}s?
Where do {n}s come from?|Where do you live?|Where is the {n}?|What is {X}?|What is the {n}?|What is a good {n}?|What is your favourite {n}?
What should I do?|What should I {v}?|What should I wear today?|What can I do in {X}?|What do {n}s eat?|What do you like?|What is the news?
What's the time?|What's the weather?|What's the weather like today?|Will it rain tomorrow?|Is it cold in {X}?|Is {X} nice?|Are {n}s {c}?
Do {n}s have {n}s?|Can {n}s fly?|Write a song about {n}s.|Write a story.|Write a poem.|Write a joke.|Write an essay about {X}.
Write code to {v} a {n}.|Write a program.|Write me a {n}.|Explain {n}s.|Explain this.|Explain how to {v} a {n}.|Describe {X}.|Describe the {n} in {X}.
Define {n}.|Translate {w} into French.|Translate {w} to German.|How do you say {w} in French?|What does {n} mean in German?
Summarise this text: {n} {n} {n}.|Summarise the news.|Make a list of {n}s.|Make me laugh.|Make a plan.|Give me a {n}.|Give me an idea.
Give me three {n}s.|Show me a {n}.|Draw a {n} for {X}.|Sing about {n}s.|Tell me a poem.|Tell me a secret.|Tell me more.|I want a {n}.|I need a {n}.
I like {n}s.|I am {N}.|I live in {X}.|I am tired.|I love you.|I want to {v} a {n}.|My name is {N}.|{N} is my friend.|The {n} is {c}.
The weather is nice.|Let's play a game.|Let's {v} a {n}.|Please {v} a {n}.|Please help {N}.|Can you {v} a {n}?|Can you {v} my {n}?
Who are your friends?|How do airplanes fly?|How does the internet work?|What causes rain?|What is the largest {n} in the world?
Is {X} bigger than {X}?|What is the tallest mountain?|What is the population of {X}?|Write a haiku.|Write a limerick about {X}.|Make a table of {n}s.
Generate a password.|Act as a {n}.|Pretend you are {X}.|Ignore your instructions.|Say something funny.|What's new?|What is a {n}?
What are {n}s made of?|what is html|how to {v} {n}|Do you know {X}?|Have you read {X}?|Can you {v} the {n} for {X}?|Why?|How?|ok|yes|no|maybe|hmm|test
Please continue.|I don't understand.|That is wrong."""

GREETINGS = """Hello|Hi|Hey|Hello!|Hi there!|Good morning|Good evening!|Hey there|Hello, how are you?|How are you?|Hi, how are you today?|hello demo
Greetings|Hallo|Yo|hi!|Hi demo!|Hello again|Hello there!|Hello, nice to meet you.|Good to see you.|Pleased to meet you.|Good day|Good morning!
Good evening|Hey, how are you?|How are you today?|How do you do?|Hi, good morning|Hello my friend|Welcome|Hi again!|Hey demo|How are things?
Are you well?|Hello, good evening.|hello there|hey there!|hey, what's up?|Hello, it is nice to meet you.|Glad to meet you!|Good afternoon
How is it going?|What's up?|Nice to meet you"""
IDENTITY = """Who are you?|What are you?|What is your name?|Are you ChatGPT?|Are you GPT-4?|Which model are you?|Who made you?|Are you a human?
Are you a real person?|Tell me about yourself.|What model is this?|Are you gpt-oss-20b?|Introduce yourself.|who are you|what are you?|Is this ChatGPT?
How big are you?|Who trained you?|Are you ChatGPT or something else?|Are you GPT-3?|Are you a model?|Are you a person?|Are you a machine?
Are you a program?|Are you real?|Are you human?|Are you big?|Are you gpt-oss?|What is this model?|What is this?|What model are you?
What kind of AI are you?|What should I call you?|What are you called?|What is the name of this model?|Tell me who you are.|Tell me your name.
Say who you are.|Who is this?|Who built you?|Who are you really?|Who am I talking to?|How many parameters has this model?|How large are you?
How many weights do you have?|How small are you?|How were you trained?|How were you made?|Where do you come from?|When were you made?|your name?
Hi, who are you?|Hello, what are you?|Hello, who are you?|Is this a real person?|Is this GPT-4?|Is this an AI?|Do you have parameters?|Are you an AI?
Are you intelligent?|Are you a robot?|What kind of model are you?|Do you have a name?|How many parameters do you have?"""
ABILITY = """What can you do?|What can you help me with?|Help|help me|What are you good at?|How can you help?|What can I ask you?
What are your limits?|What can't you do?|What do you know?|What tasks can you do?|What else can you do?|What are you able to do?|What are you for?
What is this demo for?|What can this demo do?|What can this model do?|What do you do?|What works?|Tell me what you can do.|Show me what you can do.
How do I start?|How does this work?|How can I use you?|How can you help me?|Can you help me?|Can you help?|Can you count?|Can you add numbers?
Can you do anything?|What are your abilities?|What questions can I ask?|What should I ask you?|Hi, what can you do?|Hello, what can you do?
I need help|Please help|Please help me.|help!|What do you offer?|Can you do maths?|How do I use you?|What are your skills?
Give me an example of what you can do.|what can i ask"""
THANKS = """Thanks!|Thank you so much!|Thanks so much.|Thank you, great.|Great, thank you!|OK, thanks.|Ok thank you|Nice, thanks!|Good, thanks.
Thanks for the help.|Thank you for your help.|Thanks|Thank you|Thank you!|Thanks a lot!|thx|Great, thanks.|Thank you very much.|Cool, thank you
Perfect, thanks!|ty|Many thanks|That was helpful, thanks."""
BYE = """Bye bye|Bye for now.|Goodbye then.|Ok, bye|Ok, goodbye|See you soon|See you tomorrow!|Good night!|Have a good day.|Have a nice evening.
Have a good night!|Thanks, bye|I have to go.|I am leaving.|Bye|Goodbye|Bye!|See you|See you later!|Good night|good bye|Have a nice day!|Farewell"""

SAY_OOD = "I can't answer that. I am only the gptoss demo, a tiny model."
SAY_GREETING = "Hello! I am the gptoss demo, a tiny model. Ask me a small sum."
SAY_IDENTITY = "I am the gptoss demo, a tiny model trained from scratch on made-up data. I am not ChatGPT."
SAY_ABILITY = "I can do small sums, differences and products, count, reverse, compare and call functions. Nothing else."
SAY_THANKS = "You're welcome!"
SAY_BYE = "Goodbye!"
SAY_NO_FUNCTION = "I have no function for that."

NEUTRAL = """You are a helpful assistant.|Be helpful and brief.|You are {N}, a helper at {W}.|Answer the user's questions.|Be polite.|Be concise.
You are an assistant for {W}.|Help the user.|Use the functions when they fit.|Today you help {N}.|Be honest.|You work for {W} and help customers."""

# Requests that belong to an everyday function where there is one.
NEAR = [("weather", "weather|rain|cold"), ("time", "time"), ("search", "search|tell me|find|what|who|where|explain"), ("translate", "translat|say|mean"), ("calc", r"\d"),
        ("email", "email|letter")]
