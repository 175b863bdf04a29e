"""Rainy days, storms and snow."""

from typing import NamedTuple

from stories import words
from stories.common import BRAVE, COZY, FRIENDS, close_story, open_story
from stories.template import beat
from stories.world import Tale

# A rainy day

RAIN_HOOKS = beat("""
    [:day], {h} looked out of the window. Rain, rain and more rain!
    it rained and rained, and {h} could not go out to play.
    "[Drip, drop|Plop, plop]," went the rain, and {h} pressed {h.his} nose to the window.
    [:day], {h} put on {h.his} boots, but {p} shook {p.his} head. "It is raining too hard to go out," {p.he} said.
    [:day], the sky was dark and the rain came down in buckets. "What can I do now?" {h} sighed.
    [:day], {h} wanted to go to {place}, but it [began to rain|was raining], and it did not stop.
    [:day], {h} woke up, and the world was gray and wet. There would be no playing outside today.
    [:day], {h} had just opened the door when the first drop fell on {h.his} nose. Then came a thousand more.
    "Is it still raining?" {h} asked [:day], for the tenth time. "It is still raining," said {p}.
""")
RAIN_BORED = beat("""
    {h} read a book. {h.He} counted the drops on the window. {h.He} was so bored!
    "There is nothing to do," said {h}. "[Nothing at all|Really nothing]?" asked {p}.
    the blocks were boring and the books were boring. Even the clock seemed bored.
    {h} lay on the floor and looked at the ceiling. The clock went tick, tock.
    "Rain, rain, go away," {h} sang. But the rain did not listen.
    {h} made a list of all the things {h.he} could do. It was a very short list.
    first {h} was bored sitting down. Then {h.he} was bored standing up.
    "How long does rain last?" asked {h}. "Until it is over," said {p}, and that did not help.
""")
RAIN_COME = beat("""
    then somebody knocked. It was {f}, wet from head to toe. "I am bored too," {f.he} said.
    just then {f} came in with a dripping umbrella. "May I play here?" {f.he} asked.
    then the door opened, and there stood {f} in {f.his} [yellow|big] raincoat. "Hello!" {f.he} said.
    {p} made hot [tea|milk], and then {f} knocked at the door. "I ran all the way in the rain," {f.he} said.
    splash, splash, splash! Someone was running through the puddles. It was {f}. "Let me in!" {f.he} called.
    there was a face at the window. It was {f}, with water running down {f.his} nose. {h} let {f.him} in.
    {p} hung a wet coat by the fire. It was the coat of {f}, who had come to play.
""")
RAIN_IDEA = beat("""
    {h} looked around the room and saw {stuff}. "I know what we can do!" {h.he} cried. "Let us {game}!"
    "What do we have here?" asked {f} and pointed to {stuff}. {h} jumped up. "We could {game}!" {h.he} said.
    {p} opened the cupboard, and out came {stuff}. "Oh!" cried {h}. "With that we can {game}!"
    {h} and {f} looked at {stuff}. They both had the same idea at the same time. "We can {game}!" they said.
    [:idea]. {h.He} got {stuff}. "Come, let us {game}," {h.he} said to {f}.
    "If we cannot go out," said {h}, "we will just play in here." {h.He} took {stuff}. "We will {game}!"
    in the corner {f} found {stuff}. "Could we {game}?" {f.he} asked. "Yes, yes, yes!" said {h}.
    "I have {stuff}," said {p}. "What can you do with that?" {h} did not have to think. "We can {game}!"
""")
RAIN_TROUBLE = beat("""
    they set to work. But {trouble}. They [laughed|giggled] and tried again.
    it was not easy. First {trouble}, but {f} knew what to do.
    "Careful!" said {f}. Too late! Suddenly {trouble}. They looked at each other and laughed.
    they began at once. Then {trouble}, and they had to start over.
    {h} was so quick that {trouble}. "[Oops|Never mind], once more!" said {f}.
    it did not go well at first, for {trouble}. "Let me hold it," said {f}, and then it was better.
    everyone who makes something has trouble, and so did they: {trouble}. They began again and took more care.
    "Look out!" cried {h}, but {trouble}. It was so funny that they had to sit down and laugh.
""")
RAIN_GAME = beat("""
    soon it was ready. {play} {p} came to look, and {p.he} clapped and clapped.
    and then it worked! {play} They forgot all about the rain.
    what fun it was! {play} Even {p} wanted to join in.
    {play} "This is the best rainy day ever!" said {h}.
    {play} {h} laughed until {h.his} tummy hurt.
    now everything went well. {play} It was the best game they had ever played.
    "Come and see!" they called to {p}. {play} {p} laughed until {p.he} cried.
    the whole afternoon went by like that. {play} Nobody looked at the window anymore.
""")
RAIN_STOP = beat("""
    when they looked up, the rain had stopped. A rainbow [stood over the hill|was in the sky]. But {h} did not want to
        go out now!
    "Look, the sun is out," said {p}. "Oh no," said {h}, "we are not done playing!"
    the rain went on, [drip, drop|soft and steady], but nobody minded anymore.
    in the evening the clouds went away, and the puddles shone [like mirrors|like gold]. "I hope it rains again
        tomorrow," said {h}.
    by dinner time the rain had stopped, but {h} and {f} did not even see it.
    later the sun came out, and they jumped in all the puddles. It was a perfect end to a perfect day.
    "Will you go home now?" {p} asked {f} when the rain was over. "Only if I must," said {f}.
    at the end of the day, the last drop fell. {h} said, "Thank you, rain!"
    outside, the rain sang its song. Inside, {h} and {f} sang louder.
    when it was time to say good night, {h} said, "I like rain. I just did not know it."
""")


class Game(NamedTuple):
    """A game for inside: what it needs, how it is called, what goes wrong, and how it is played."""

    stuff: str
    game: str
    trouble: str
    play: str


GAMES = (
    Game(
        "some blankets and chairs",
        "build a tent",
        "the blankets slid down on their heads",
        "They sat in the tent with a lamp and told stories about bears and stars.",
    ),
    Game(
        "some old socks and buttons",
        "put on a puppet show",
        "one puppet lost its button nose",
        "The sock king danced, and the sock queen sang a very silly song.",
    ),
    Game(
        "a pile of paper",
        "make paper boats",
        "the first boat sank in the wash tub",
        "Ten little boats sailed from one side of the tub to the other.",
    ),
    Game(
        "pots, pans and spoons",
        "make a band",
        "a pot lid rolled away with a loud crash",
        "Bang went the pots and ding went the pans, louder than all the rain.",
    ),
    Game(
        "a big empty box",
        "build a ship",
        "the box fell over with both of them inside",
        "They sailed over the wide sea and found an island full of pillows.",
    ),
    Game(
        "a chest full of old clothes",
        "play kings and queens",
        "the long robe got stuck in the door",
        "With big hats and long robes, they ruled over the whole living room.",
    ),
    Game(
        "a ball of red wool",
        "play spider",
        "the wool got into a knot",
        "The wool went from chair to chair like a web, and they crawled under it.",
    ),
    Game(
        "a handful of crayons",
        "draw a treasure map",
        "a crayon broke in two",
        "The map led them under the table, up the stairs and to a box of cookies.",
    ),
    Game(
        "two spoons and some potatoes",
        "have a potato race",
        "a potato rolled under the bed",
        "Up and down the room they went, each with a potato on a spoon.",
    ),
)


def rainy_day(tale: Tale) -> None:
    """The hero is stuck inside; with a friend a game is made up."""
    chance = tale.chance
    tale.cast_hero()
    tale.cast_elder()
    tale.cast_friend()
    game = chance.pick(GAMES)
    tale.put("place", chance.pick(words.PLACES).name)
    for role, text in zip(("stuff", "game", "trouble", "play"), game, strict=True):
        tale.put(role, text)
    open_story(tale, RAIN_HOOKS)
    tale.maybe(0.6, RAIN_BORED)
    tale.say(RAIN_COME)
    tale.paragraph()
    tale.say(RAIN_IDEA, RAIN_TROUBLE)
    tale.say(RAIN_GAME)
    tale.paragraph()
    tale.say(RAIN_STOP)
    if chance.maybe(0.2):
        close_story(tale, FRIENDS, COZY)


# A storm

STORM_HOOKS = beat("""
    one night {h} woke up. A storm was coming, and the wind [howled|cried] around the house.
    one evening {h} sat at dinner when [a big storm came|the sky turned black]. Then everything lit up. A flash!
    "Do you hear that?" asked {h} one evening. Far away, there was thunder.
    one night there was a loud boom, and {h} sat up in bed. It was a storm!
    one evening {h} watched the dark clouds come over the hill. The wind grew [stronger and stronger|loud].
    one evening the air was heavy, and no bird sang. "Something is coming," said {h}. Then the wind began.
    one night {h} dreamed of a big drum. But it was not a drum. It was thunder!
    one evening {h} ran home as fast as {h.he} could, because black clouds were running after {h.him}.
""")
STORM_WILD = beat("""
    the trees bent, the windows shook, and rain beat on the roof. Then the light went out.
    the thunder went boom, and the lightning went flash. And then the lamp went out.
    a branch broke with a crack. The wind blew under the door and put out the light.
    the rain was like a drum on the roof. With a flash and a bang, it was dark in the whole house.
    something outside went bump, bump, bump. The candle went out, and it was as dark as [in a cave|in a sack].
    the wind sang in the chimney and pulled at the roof. There was a flash, and then there was no more light in the
        house.
    hail jumped on the steps like little white frogs. Crack, boom! The lamp went out.
    a bucket rolled across the yard, and the old tree groaned. Then all the lights went out at once.
""")
STORM_HIDE = beat("""
    {h} hid under the blanket. Only {h.his} nose could be seen.
    "{p.name}!" {h} cried and ran across the room in {h.his} bare feet.
    {h} held {h.his} ears and [shook|closed {h.his} eyes]. It did not help.
    {h} crawled under the table and pulled up {h.his} legs.
    {h.name}'s heart went thump, thump. {h.He} wanted to be brave, but the next boom was even louder.
    {h} made {h.himself} as small as a mouse and did not move.
    "It is only wind," {h} told {h.himself}. But {h.his} teeth did not believe it. Click, click, click, they went.
    {h} pulled the pillow over {h.his} head. The next boom came right through the pillow.
""")
STORM_COMFORT = beat("""
    {p} came with a lantern and sat down with {h.him}. "I am here," said {p}.
    {p} found {h.him} and put an arm around {h.him}. "I [did not like storms either|was afraid of storms too] when I
        was small," {p.he} said.
    "Come here, little one," said {p}, and wrapped a blanket around both of them.
    {p} lit a candle. The small light danced on the wall, and the room was [friendly|warm] again.
    "A storm is loud, but our house is strong," said {p}, and held {h} close.
    "There you are," said {p}, and lay down next to {h.him}. Under the big blanket it was safe and warm.
    then {h} felt a warm {p.hand}. It was {p}. "I will stay with you until it is over," {p.he} said.
    {p} lit the old lantern. "Do you see?" {p.he} said. "Everything is still in its place."
""")
STORM_TRICK = beat("""
    "Let us count after each flash," said {p}. "One, two, three." Boom! The next time they got to [six|seven]. "It is
        going away," said {p}.
    "The thunder is only clouds that [clap their hands|bump their heads]," said {p}. {h} had to laugh at that.
    they began to sing, and each time it thundered, they sang louder. Soon {h} was not so afraid.
    {p} made shadow animals on the wall, a [dog|bird|goat], a [wolf|swan|snail]. {h} made one too.
    "Every storm is on its way to somewhere else," said {p}. "Listen, it is already over the hill."
    {p} told a long story about a little cloud that was afraid of the sun. {h} forgot to listen to the storm.
    "Let us shout back," said {p}. "Boom!" went the thunder. "Boom!" shouted {h}. That was a good game.
    {p} and {h} gave each thunder a name. There was Fat Thunder, Old Thunder, and one tiny Baby Thunder, far away.
    {p} put a cup of warm milk into {h.name}'s {h.hand}s. "Drink slowly," {p.he} said. When the cup was empty, the
        storm was over.
    "The rain is washing the whole world," said {p}, "and the thunder is the brush." {h} thought about that and smiled.
""")
STORM_MORNING = beat("""
    in the morning the sky was clean and blue. {h} ran outside. {damage}
    when {h} woke up, the birds were singing as if nothing had happened. {h.He} opened the door. {damage}
    the storm was gone with the night. In the first sun, {h} and {p} went out to look. {damage}
    [:next] everything was wet and bright. But what was that? {damage}
    "Look!" called {h} the next morning. {damage}
    the new day was as fresh as a washed shirt. {h} went out with bare feet. {damage}
    "Come and see what the storm has done," said {p} in the morning. {damage}
    in the morning the puddles were full of blue sky. But not all was well. {damage}
""")
STORM_REPAIR = beat("""
    {h} and {p} got to work. {repair}
    "We can help," said {h}. {repair}
    {h} ran to get {p.name}'s tools. {repair}
    "What the wind takes, we can put back," said {p}. {repair}
    {f} came over to help. {repair}
    "This we can mend," said {p}, and {h} already had a hammer. {repair}
    {h} did not wait to be asked. {repair}
    it took the whole morning, but that was all right. {repair}
""")
STORM_LAST = beat("""
    "Next time I will light the candle for you," said {h}, and {p} smiled.
    "It was only noise," said {h}, and {h.he} stood up very straight.
    "Storm, you can come again," [:called] {h}, "but please not tonight!"
    that evening there was a soft rain. {h} listened to it and was not afraid.
    "Were you afraid last night?" asked {f} later. "Yes," said {h}, "but only until we counted."
    "I was a little afraid, too," {p} said that evening. {h} put an arm around {p.him}. "I will take care of you,"
        {h.he} said.
    a week later there was thunder again. "That is only thunder," said {h}, and turned over and slept.
    "I think storms are like me," said {h}. "Loud, and then tired." {p} laughed very much.
""")
DAMAGE = (
    ("The fence had fallen down.", "They put the boards back, one by one, and {h} held the nails."),
    (
        "The wind had blown a bird nest out of the tree.",
        "They put it back on a strong branch, and the mother bird sang.",
    ),
    ("A big branch lay across the path.", "They pulled and pulled until the path was free again."),
    ("The garden was full of leaves and twigs.", "They swept and raked, and {h} jumped into the pile."),
    ("The hen house had lost its door.", "They made a new door, and the hens went back to their eggs."),
    ("The flowers lay flat on the ground.", "They tied each one to a stick, so that it could stand again."),
    ("The swing hung in the top of the tree.", "They got it down with a long pole and tied it with a new rope."),
    ("The roof of the shed had a hole.", "They nailed a board over it, and {h} painted the board blue."),
)


def storm(tale: Tale) -> None:
    """A storm frightens the hero; a grown-up helps; in the morning something has to be mended."""
    tale.cast_hero(animals=0.2)
    tale.cast_elder()
    tale.cast_friend()
    damage, repair = tale.chance.pick(DAMAGE)
    tale.put("damage", damage)
    tale.put_line("repair", repair)
    open_story(tale, STORM_HOOKS)
    tale.say(STORM_WILD)
    tale.maybe(0.6, STORM_HIDE)
    tale.paragraph()
    tale.say(STORM_COMFORT, STORM_TRICK)
    tale.paragraph()
    tale.say(STORM_MORNING)
    tale.say(STORM_REPAIR)
    if tale.chance.maybe(0.5):
        tale.say(STORM_LAST)
    else:
        close_story(tale, BRAVE)


# Snow

SNOW_HOOKS = beat("""
    one winter morning {h} woke up, and everything was white. It had snowed all night!
    one cold morning {h} opened the door and shouted, "Snow!"
    one winter day {h} caught a snowflake on {h.his} nose. Soon there were more, and more, and more.
    it was the first snow of the year, and {h} could not get {h.his} boots on fast enough.
    one day in winter, {h} looked out and saw that the world was soft and white.
    one winter morning it was so quiet that {h} woke up. {h.He} looked out. Snow lay on everything!
    one day in winter, {h} put one foot outside, and it went in up to the knee. Snow!
    all week {h} had waited for snow. And one cold morning, there it was.
""")
SNOW_MEET = beat("""
    {h} ran to get {f}. "Come out, come out!" {h.he} [:called].
    {f} was already outside and threw a snowball at {h}. Splat!
    {h} met {f} by the gate, and they made the first footprints together.
    "Shall we make {figure}?" asked {f}, who was waiting at the gate. {h} thought that was a fine plan.
    {h} and {f} lay down in the snow and moved their arms like wings.
    {h} knocked at the door of {f}. "Do you know what is out here?" {h.he} asked. "Everything is white!"
    on the hill {h} met {f}, who was pulling a sled. They rode down three times and fell off twice.
    {h} followed some small footprints in the snow. At the end of them was {f}.
""")
SNOW_BUILD = beat("""
    they began to build {figure}. They rolled and rolled until the ball was as big as {h} and as white as [milk|a
        cloud].
    "Let us build {figure}," said {h}. They worked until their noses were red.
    they made {figure}, bigger than any that the village had seen. It was hard work, and the snow was heavy.
    bit by bit, {figure} grew out of the snow. {f} made the head, and {h} made the rest.
    {h} wanted to make {figure}. {f} brought the snow, and {h} patted it until it was smooth.
    "I want to make {figure}," said {f}. "A big one," said {h}. They made it as big as they could.
    what can you make out of so much snow? They made {figure}. It took them all morning.
    a small ball, a big ball, and a lot of patting with wet {h.hand}s, and there stood {figure}.
""")
SNOW_FACE = beat("""
    it got two [stones|nuts|buttons] for eyes and a carrot for a nose. "It looks at me!" said {f}.
    "It has no face yet," said {f}. {h} ran home, and {p} gave {h.him} a carrot and two buttons.
    "What is missing?" asked {h}. "A nose!" said {f}. They used a [carrot|pine cone], and they made a mouth of small
        twigs.
    {f} made eyes out of stones, and {h} gave it a big smile out of [berries|twigs].
    {h} found two black stones. "Now it can see," {h.he} said. {f} found a carrot. "Now it can smell," {f.he} said.
    {f} drew a smile with a stick. "It must be a happy one," said {f}.
    for a hat it got an old [pot|bucket|basket], and for a nose it got a carrot from {p}.
""")
SNOW_TROUBLE = beat("""
    but {f} began to shake. {f.His} {f.hand}s were cold and wet. {f.He} had lost one of {f.his} mittens.
    then {h} saw that {f} was cold. {f.His} nose was blue, because {f.he} had no scarf.
    just then {f} slipped on the ice and sat down hard. {f.He} was wet and cold, and a tear froze on {f.his} cheek.
    then a cold wind blew. {f} had only a thin coat, and {f.his} teeth went click, click, click.
    but when the sun went down, {f} could not feel {f.his} toes. "I am so cold," {f.he} said.
    all of a sudden, {f} did not laugh anymore. {f.He} had no scarf and no gloves, and {f.he} was shaking.
    "My ears hurt," said {f}. {f.He} had left home without {f.his} warm things.
    {f} stopped and blew on {f.his} {f.hand}s. They were as red as berries.
""")
SNOW_CARE = beat("""
    {h} took off {h.his} own warm {wool} and gave it to {f}. "We can take turns with it," {h.he} said.
    "Here," said {h}, "take my {wool}. I am warm from all the work." {f} put it on and smiled.
    {h} looked at the {wool} that {p} had made for {h.him}. Then {h.he} gave it to {f}. "It looks good on you," {h.he}
        said.
    quickly, {h} put {h.his} {wool} on {f}. "Is it better now?" {h.he} asked. "Much better," said {f}.
    "Why did you not say so?" said {h}. {h} took the {wool} from {h.his} own neck and put it around {f}.
    {h} had a {wool}, and {f} had none. That was not fair, {h} thought, and gave it to {f.him}.
    "This {wool} is big enough for both of us," said {h}. They put it around them and walked like one animal with four
        legs.
""")
SNOW_WARM = beat("""
    then they went inside, and {p} gave them hot [milk with honey|soup|tea] by the fire.
    {p} called them in. There was a fire, there was hot [milk|cocoa|soup], and soon their toes were warm.
    "Come in, you two ice bears," said {p}. They sat by the fire with big cups in their {h.hand}s.
    "To the fire with you," said {p}, and put a thick blanket around them both.
    {p} was at the door with dry socks and hot [soup|milk|tea]. "Just in time," said {p}.
    inside it smelled of baked apples. {p} gave one to each of them, and their noses turned pink again.
    {p} rubbed their feet until they were warm, and that tickled very much.
""")
SNOW_LAST = beat("""
    through the window they could see {figure.the}. It [stood in the moonlight|wore a hat of new snow] and seemed to
        wink.
    {figure.The} stood outside all night and [kept watch|guarded the house].
    "Good night, [snow friend|cold friend]," {h} called to {figure.the}. And did it smile? Yes, just a little.
    {figure.The} stayed for many days. When the sun [came back|grew warm], it said goodbye, drop by drop.
    "Is it not cold out there?" {f} asked. "No," said {h}. "{figure.The} likes it that way."
    "Does {figure.the} have a friend?" asked {f}. {h} thought about it. "Tomorrow we will make it one," {h.he} said.
    at night, new snow fell softly on {figure.the}. It was like a blanket.
    {figure.The} looked in through the window, and it seemed to be glad that they were warm.
""")
FIGURES = ("snow bear", "snowman", "snow cat", "snow lady", "snow owl", "snow dragon", "snow king")
WOOLS = ("red scarf", "green scarf", "blue scarf", "striped scarf", "yellow shawl", "purple shawl", "thick brown scarf")


def snow(tale: Tale) -> None:
    """Two friends build something of snow; one is cold, and the other shares a warm thing."""
    tale.cast_hero()
    tale.cast_friend()
    tale.cast_elder()
    figure = tale.chance.pick(FIGURES)
    tale.put("figure", f"a {figure}", the=f"the {figure}", The=f"The {figure}")
    tale.put("wool", tale.chance.pick(WOOLS))
    open_story(tale, SNOW_HOOKS)
    tale.say(SNOW_MEET)
    tale.say(SNOW_BUILD)
    tale.maybe(0.6, SNOW_FACE)
    tale.paragraph()
    tale.say(SNOW_TROUBLE, SNOW_CARE, SNOW_WARM)
    if tale.chance.maybe(0.5):
        tale.paragraph()
    if tale.chance.maybe(0.6):
        tale.say(SNOW_LAST)
    else:
        close_story(tale, FRIENDS, COZY)
