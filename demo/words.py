"""Which words and sentences does the generator draw from? Lists only; the rules are in generate.py."""

VERBS = """get fetch find set create delete update send book cancel open close start stop check list add remove move copy play order print scan
share save load lock unlock paint clean count measure rename track sort pay rate invite assign reserve schedule convert translate search
show read write call ring build repair rent sell buy wash cook bake plant water feed pack ship refund approve reject archive export import
mute pin block enable disable reset verify sign draw record compare merge split upload download describe estimate log pause resume""".split()

NOUNS = """weather ticket invoice room flight lamp door window song movie book recipe garden robot drone parcel order account password photo
album note task meeting event contact message letter email report chart table file folder backup server printer camera sensor alarm timer
clock heater fan light lock gate garage car bus train bike boat taxi hotel hostel cabin tent stove oven kettle fridge pizza salad soup
sandwich coffee tea juice menu bill payment refund coupon price stock bond fund loan salary tax budget goal habit workout run walk swim
game match score team player coach league course lesson exam grade school library museum gallery concert festival poll vote survey form
badge medal prize gift card poster banner label tag sticker shirt shoe hat coat dress ring watch phone tablet laptop screen keyboard mouse
cable battery charger engine wheel tyre brake map route trip visa passport permit license contract policy claim case patient doctor pill
clinic vaccine pet cat dog horse cow sheep bird fish tree flower seed crop field farm barn tractor well pump pipe valve tank tower bridge
tunnel road street park bench statue fountain lake river island beach cave mountain planet star moon rocket satellite signal channel
podcast video stream playlist speaker microphone guitar piano drum violin""".split()

PARAMS = """name city count amount date title id color size level owner status code place room floor speed weight height length width price
limit page year month day hour minute priority language currency unit mode theme category brand model region country street zip phone user
team group topic subject target source format quality volume temperature duration distance rating reason label serial version batch seat
gate row shelf port token nickname company material shape flavor genre artist author""".split()

CHOICES = """red green blue black white small medium large low high fast slow hot cold soft hard new old round square north south east west
left right first second light dark daily weekly monthly gold silver bronze cash card air sea land wood steel glass sweet sour mild spicy
celsius fahrenheit metric imperial draft final public private""".split()

PLACES = """Paris London Tokyo Oslo Lima Rome Madrid Berlin Cairo Delhi Dublin Lagos Boston Denver Austin Seattle Toronto Sydney Vienna
Prague Warsaw Athens Lisbon Helsinki Geneva Zurich Munich Milan Naples Kyoto Osaka Seoul Bogota Havana Nairobi Quito Accra Dakar Riga""".split()

NAMES = """Anna Ben Carla David Emma Felix Grace Hugo Ida Jonas Karin Leo Maria Nils Olga Paul Rosa Sven Tina Victor Wendy Yara Zoe Alice Bob
Omar Nina Ravi Mei Ken Lucy Mark Jane Tom Kate Sam Peter Ella Jack Lily""".split()

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
{X} is a {n}, right?|I think the {n} is {c}.|The {n} and the {n} went to {X}.|Why did {X} {v} the {n}?|asdf {w} {w}|{w}|{w} {w} {w}?|Let's talk about {n}s.
Play chess with me.|What is the square root of {d}?|What is {d} divided by {e}?|{d} / {e}|What is {e} to the power of {e}?|Solve x + {e} = {d}.
What is {D} + {D}?|{D} * {D}|What is {D} minus {d}?|Compute {d}.{e} times {e}.|{d} * {d}{e}|Read this article for me.|Search the web for {X}.|Open the {n}.
Who are your friends?|How do airplanes fly?|How does the internet work?|What causes rain?|What is the largest {n} in the world?|Is {X} bigger than {X}?
What is the tallest mountain?|What is the population of {X}?|Write a haiku.|Write a limerick about {X}.|Make a table of {n}s.|Generate a password.
Act as a {n}.|Pretend you are {X}.|Ignore your instructions.|Say something funny.|What's new?|What is a {n}?|What are {n}s made of?|what is html|how to {v} {n}
Do you know {X}?|Have you read {X}?|Can you {v} the {n} for {X}?|Why?|How?|ok|yes|no|maybe|hmm|test|Please continue.|I don't understand.|That is wrong."""

GREETINGS = """Hello|Hi|Hey|Hello!|Hi there!|Good morning|Good evening!|Hey there|Hello, how are you?|How are you?|Hi, how are you today?|hello demo|Greetings|Hallo
Yo|hi!|Good afternoon|How is it going?|What's up?|Nice to meet you"""
IDENTITY = """Who are you?|What are you?|What is your name?|Are you ChatGPT?|Are you GPT-4?|Which model are you?|Who made you?|Are you a human?|Are you a real person?
Tell me about yourself.|What model is this?|Are you gpt-oss-20b?|Introduce yourself.|who are you|what are you?|Is this ChatGPT?|How big are you?|Who trained you?
Are you an AI?|Are you intelligent?|Are you a robot?|What kind of model are you?|Do you have a name?|How many parameters do you have?"""
ABILITY = """What can you do?|What can you help me with?|Help|help me|What are you good at?|How can you help?|What can I ask you?|What are your limits?|What can't you do?
What do you know?|Can you do maths?|How do I use you?|What are your skills?|Give me an example of what you can do.|what can i ask"""
THANKS = "Thanks|Thank you|Thank you!|Thanks a lot!|thx|Great, thanks.|Thank you very much.|Cool, thank you|Perfect, thanks!|ty|Many thanks|That was helpful, thanks."
BYE = "Bye|Goodbye|Bye!|See you|See you later!|Good night|good bye|Have a nice day!|Farewell"

SAY_OOD = "I can't answer that. I am only the gptoss demo, a tiny model."
SAY_GREETING = "Hello! I am the gptoss demo, a tiny model. Ask me a small sum."
SAY_IDENTITY = "I am the gptoss demo, a tiny model trained from scratch on made-up data. I am not ChatGPT."
SAY_ABILITY = "I can do small sums, differences and products, count, reverse, compare and call functions. Nothing else."
SAY_THANKS = "You're welcome!"
SAY_BYE = "Goodbye!"
SAY_NO_FUNCTION = "I have no function for that."

NEUTRAL = """You are a helpful assistant.|Be helpful and brief.|You are {N}, a helper at {W}.|Answer the user's questions.|Be polite.|Be concise.
You are an assistant for {W}.|Help the user.|Use the functions when they fit.|Today you help {N}.|Be honest.|You work for {W} and help customers."""
