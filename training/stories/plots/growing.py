"""Fears that are overcome, skills that are learned, and nights without sleep."""

from typing import NamedTuple

from stories.common import BRAVE, TRYING, close_story, open_story
from stories.template import beat
from stories.world import Tale

# A fear

FEAR_HOOKS = beat("""
    {h} was afraid of {fear}. Nobody knew it, not even {f}.
    there was one thing that {h} did not like, and that was {fear}.
    {h} could climb and run and shout. But {h.he} was afraid of {fear}.
    "I am not afraid of anything," {h} always said. But {h.he} was afraid of {fear}.
    {h} was afraid of {fear}. Just to think of it made {h.his} knees shake.
    {h} had a secret. {h.He} was afraid of {fear}.
    there were many things that {h} loved, but {fear} was not one of them. It made {h.him} shake.
    when {h} thought of {fear}, {h.he} wanted to hide under the bed.
    "Please not that," {h} always said when it came to {fear}.
    {h} was bold and quick. Only one thing made {h.him} go pale, and that was {fear}.
""")
FEAR_CALL = beat("""
    [:day], {call}. {h} wanted to go, but {h.his} feet did not move.
    [:day], {call}. {h} stood still and [shook {h.his} head|swallowed hard].
    [:day], {call}. {h.name}'s tummy felt strange.
    and then, [:day], {call}. {h} [wished that {h.he} was at home|took two steps back].
    [:day], {call}. {h} wanted to say no, but no sound came out.
    [:day], {call}. "Oh no," thought {h}, and {h.his} heart began to hop.
    and of course, [:day], {call}. {h} held on to the [door|fence|wall].
""")
FEAR_FAIL = beat("""
    "I will do it," {h} said, and {h.he} tried. But {scare}, and {h.he} ran away.
    {h} closed {h.his} eyes and counted to three. Then {scare}. "No, no, no!" {h.he} cried.
    {h} went a little closer. Suddenly {scare}, and {h} [jumped back|hid {h.his} face].
    {h} took a deep breath. But when {scare}, {h.he} [could not do it|turned around at once].
    "One, two," {h} counted. Before {h.he} got to three, {scare}, and that was the end of it.
    {h} stood up tall. {h} almost did it, too! But then {scare}, and {h} ran to {p}.
    {h} tried to whistle. Then {scare}, and the whistle turned into a squeak.
""")
FEAR_TELL = beat("""
    {p} saw it and [sat down with {h.him}|took {h.his} {h.hand}]. "What are you afraid of?" asked {p}. {h} whispered it
        into {p.name}'s ear.
    "I am a coward," {h} told {p}. "No," said {p}, "everyone is afraid of something. I [was afraid of geese|am afraid
        of spiders]!"
    that evening {h} told {p} about it. {p} did not laugh. "Let us go there together," {p.he} said.
    "You do not have to be brave all at once," said {p}. "[One small step is enough|Just a little bit each day]."
    {h} told {p} the secret. "[Thank you for telling me|Now we are two]," said {p}. "I will help you."
    {h} sat down on the steps and cried a little. {p} sat down too. "Fear is like a shadow," said {p}. "It looks bigger
        than it is."
    "Do you want to tell me?" asked {p}. {h} did not want to, but then {h.he} told {p.him} all of it. That felt better
        already.
    "I will never do it," said {h}. "Never is a long time," said {p}. "Let us say: not yet."
    "Were you ever afraid?" {h} asked {p}. "Very often," said {p}. "And every time I held somebody's {h.hand}."
""")
FEAR_TRICK = beat("""
    {p} showed {h} a trick: {trick}
    so they tried again, very slowly. {p} said, {trick}
    "Do you know what helps?" asked {p}. {trick}
    they went back together, {h.hand} in {h.hand}. {p} [whispered|said], {trick}
    "I learned this long ago," said {p}. {trick}
    {p} bent down and spoke in a low voice. {trick}
    "Shall I tell you my secret?" asked {p}. {h} nodded. {trick}
""")
FEAR_DO = beat("""
    {h} did just that. {h.His} heart beat fast, but {h.he} went on. And then {win}!
    {h} tried it once, and then again. The third time, {win}!
    {h} was still a bit afraid, but {h.he} did it. And look, {win}!
    one step, then another, then one more. All at once {win}!
    "I can do this," {h} whispered. And {h.he} could! {win}.
    {h} said it over and over in {h.his} head. And before {h.he} knew it, {win}!
    it was hard, and then it was a little less hard. And at last {win}!
    {p} stayed close by. {h} was slow, but {h.he} did not turn back. Then {win}!
""")
FEAR_FRIEND = beat("""
    "[Hooray|Bravo], {h.name}!" called {f}, who had seen it all.
    {f} clapped. "I was afraid of that too," {f.he} said. "Really?" asked {h}. "Really," said {f}.
    "Will you show me how you did it?" asked {f}. And {h} did.
    "[:praise]!" cried {p}, and lifted {h} up into the air.
    "That was not so bad," {h} said. "Can I do it again?" {p} laughed out loud.
    "I knew you could do it," said {f}, and gave {h} a big red apple.
    {f} told everyone about it, and {h} turned a little red.
    "Again!" {h} shouted, and {h.he} did it three more times.
""")


class Fear(NamedTuple):
    """A fear: what brings it up, what frightens, what helps, and how it ends."""

    name: str
    call: str
    scare: str
    trick: str
    win: str


FEARS = (
    Fear(
        "the dark",
        "the lamp in {h.his} room broke",
        "the floor creaked in the dark",
        "Listen to each sound, and give it a friendly name.",
        "{h.he} heard only a cricket, singing good night",
    ),
    Fear(
        "deep water",
        "{f} jumped into the pond and called {h.him}",
        "the cold water came up to {h.his} knees",
        "Lie on your back and look at the sky. The water will carry you.",
        "{h.he} floated like a leaf",
    ),
    Fear(
        "the big slide",
        "everyone went down the big slide",
        "{h.he} looked down from the top",
        "Do not look down. Look at me, and sing.",
        "{h.he} flew down the slide with a happy shout",
    ),
    Fear(
        "high places",
        "{f} climbed up the apple tree and waved",
        "a branch shook under {h.him}",
        "Hold on with both {h.hand}s, and look only at the next branch.",
        "{h.he} sat next to {f} in the top of the tree",
    ),
    Fear(
        "the big dog next door",
        "a ball flew over the fence to the big dog",
        "the dog barked once",
        "Stand still like a tree, and let him smell your {h.hand}.",
        "the dog licked {h.his} nose",
    ),
    Fear(
        "the old bridge",
        "{f} ran over the old bridge to the other side",
        "the boards went creak, creak",
        "Count the boards, one by one, and do not hurry.",
        "{h.he} stood on the other side",
    ),
    Fear(
        "bees",
        "{f} wanted to pick flowers where the bees were",
        "a bee flew past {h.his} ear",
        "Be slow and soft. Bees are busy and only look for flowers.",
        "a bee sat on {h.his} {h.hand} and flew off again",
    ),
    Fear(
        "singing in front of others",
        "{f} asked {h.him} to sing at the summer party",
        "all eyes turned to {h.him}",
        "Look for one friendly face, and sing only for that one.",
        "{h.he} sang the whole song, loud and clear",
    ),
    Fear(
        "the dark cellar",
        "somebody had to get apples from the cellar",
        "the old steps creaked",
        "Take a lantern, and whistle a song on every step.",
        "{h.he} came back with a basket full of apples",
    ),
)


def fear(tale: Tale) -> None:
    """The hero is afraid of something, fails, tells a grown-up and tries again with a trick."""
    tale.cast_hero(animals=0.3)
    tale.cast_elder()
    tale.cast_friend()
    chosen = tale.chance.pick(FEARS)
    tale.put("fear", chosen.name)
    tale.put_line("call", chosen.call)
    tale.put_line("scare", chosen.scare)
    tale.put_line("trick", f'"{chosen.trick}"')
    tale.put_line("win", chosen.win)
    open_story(tale, FEAR_HOOKS)
    tale.say(FEAR_CALL)
    tale.say(FEAR_FAIL)
    tale.paragraph()
    tale.say(FEAR_TELL, FEAR_TRICK)
    tale.say(FEAR_DO)
    tale.maybe(0.4, FEAR_FRIEND)
    close_story(tale, BRAVE)


# A skill

SKILL_HOOKS = beat("""
    [:day], {h} wanted to learn how to {skill}.
    {f} could {skill}, but {h} could not. [:day], {h.he} decided to learn it.
    [:day], {h} saw {f} {skill}. "I want to do that too!" {h.he} said.
    all that {h} wished for was to {skill}. [:day], {p} said, "Today you can try."
    "When I am big, I will {skill}," {h} used to say. [:day], {h.he} thought, "Why not now?"
    [:day], {p} gave {h} {tool}. Now {h.he} could learn to {skill}!
    [:day], {h} woke up and said, "Today I will learn to {skill}."
    everyone {h.name} knew could {skill}. [:day], {h} thought, "I want to do it as well."
    in {h.his} dreams, {h} could {skill}. [:day], {h.he} wanted to try it for real.
""")
SKILL_FIRST = beat("""
    it looked so easy. But {flop}. "Ouch!" said {h}.
    {h} tried at once. But {flop}. That was not how it should be.
    the first time, {flop}. {h} [laughed|looked surprised]. "Once more!" {h.he} said.
    {h} took {tool} and began. Oh no, {flop}!
    "Watch me!" {h} called. But {flop}, and {h.he} turned red.
    "How hard can it be?" said {h}. Then {flop}. It was quite hard.
    {h} took {tool} and a deep breath. {h.He} tried, and {flop}.
    {h} began very slowly. It almost worked, but then {flop}.
""")
SKILL_SECOND = beat("""
    {h} tried again, and again it did not work. {h.He} was so [angry|cross] that {h.he} stamped {h.his} foot.
    the second time was no better, and the third time was even worse.
    again and again {h} tried, until {h.he} was tired. "I will never learn it," {h.he} said.
    {h} tried all morning. Then {h.he} sat down and [put {h.his} head on {h.his} knees|did not want to go on].
    "It is too hard," said {h}, and a tear ran down {h.his} nose.
    a [goat|crow|hen] was watching from the fence. It seemed to laugh. {h} did not think it was funny.
    one more try, and one more bump. {h} threw {h.his} hat on the ground.
    "Everyone can do it but me," said {h}, and {h.he} kicked a stone.
    it went wrong in every way that it could go wrong, and then in a new way.
""")
SKILL_TIP = beat("""
    "Do you know how many times I fell?" asked {p}. "[A hundred|More than I can count]! The secret is this: {tip}."
    {p} [came over|sat down beside {h.him}]. "You are very close," {p.he} said. "Try this: {tip}."
    "May I give you a tip?" asked {f}. "{tip}. That is how I learned it."
    {f} had seen it. "I could not do it at first," {f.he} said. "Then someone told me: {tip}."
    "[Rest a bit|Drink some water]," said {p}, "and then try once more. And remember: {tip}."
    {p} brought {h.him} a glass of juice. "You are doing one thing wrong, and nine things right," {p.he} said. "So:
        {tip}."
    "Can I tell you a secret?" asked {p}. "{tip}. The rest will come."
    just then {f} came by. "I fell, too, when I learned it," {f.he} said. "My trick is: {tip}."
    {h} asked {f} for help. {f} scratched {f.his} head. "Well," {f.he} said, "{tip}. Then it goes by itself."
""")
SKILL_WORK = beat("""
    {h} thought about that. Every day {h.he} [tried|practiced] a little, and every day it went a little better.
    {h} wiped {h.his} nose and stood up. "One more time," {h.he} said.
    {h} did as {h.he} was told. It still went wrong, but not so much.
    that night {h} tried it in {h.his} dreams. The next morning {h.he} tried it for real.
    for a whole week {h} practiced [before breakfast|after lunch|until dark].
    "All right," said {h}. {h.He} took a deep breath and [tried|began] again.
    {h} said the tip again and again, and tried again and again.
    it did not work right away. But it went wrong more slowly now, and {h} could feel that.
    "If I can try ten times, I can try eleven times," thought {h}, and {h.he} did.
""")
SKILL_WIN = beat("""
    and then it happened. {joy} "I can do it!" {h.he} shouted.
    suddenly it worked! {joy} {p} cheered and waved {p.his} hat.
    {joy} It was a wonderful feeling. "Look, everyone, look!" [:called] {h}.
    then, when {h} was not even thinking about it, it worked. {joy}
    and this time nothing went wrong. {joy} {f} clapped and jumped up and down.
    one evening, just before dinner, it went right. {joy} {h} laughed out loud.
    "Now!" called {p}. {joy} And {h} did not even notice that {h.he} was doing it.
    {h} held {h.his} breath. {joy} "Did you see that?" {h.he} cried.
""")
SKILL_AFTER = beat("""
    after that, {h} could not stop. {p} had to call {h.him} three times for dinner.
    "Can you teach me too?" asked a small {h.young} who had been watching. "Yes," said {h}. "The first thing is:
        do not give up."
    "You see?" said {p}. "You fell ten times, and you got up eleven times."
    {h} hugged {p}. "Thank you for the tip," {h.he} said. "You did the hard part," said {p}.
    now {h} and {f} could do it together, and they did so [all summer|every day].
    at dinner {h} talked about nothing else. {p} smiled and gave {h.him} a second plate of soup.
    "I wonder what else I can learn," said {h}. "Everything," said {p}, "one thing at a time."
    everybody cheered, and {h} took a little bow.
""")


class Skill(NamedTuple):
    """Something to learn: what it needs, how it goes wrong, what helps and how it feels."""

    name: str
    tool: str
    flop: str
    tip: str
    joy: str


SKILLS = (
    Skill(
        "ride a bike",
        "a little blue bike",
        "the bike tipped over, and {h.he} landed in a bush",
        "look far ahead, not at your feet",
        "{h.He} rolled down the road with the wind in {h.his} face.",
    ),
    Skill(
        "swim",
        "a pair of swim rings",
        "{h.he} got water in {h.his} nose and mouth",
        "kick like a frog and keep your chin up",
        "{h.He} swam from one side of the pond to the other.",
    ),
    Skill(
        "skate on the ice",
        "a pair of skates",
        "{h.his} feet slid away, and {h.he} sat on the ice",
        "bend your knees and make small steps",
        "{h.He} glided over the ice like a swan.",
    ),
    Skill(
        "juggle",
        "three small balls",
        "one ball hit {h.his} nose, and two rolled away",
        "throw them high and take your time",
        "Around and around went the balls, and not one of them fell.",
    ),
    Skill(
        "fly a kite",
        "a big orange kite",
        "the kite dropped on {h.his} head",
        "wait for the wind and then run",
        "The kite went up, up, up, until it was a small dot in the sky.",
    ),
    Skill(
        "jump rope",
        "a long jump rope",
        "the rope got caught around {h.his} feet",
        "sing a song and jump with it",
        "{h.He} jumped ten times, then twenty, and did not stop.",
    ),
    Skill(
        "play the flute",
        "a wooden flute",
        "the flute made a sound like an angry goose",
        "blow as softly as you blow on hot soup",
        "A sweet tune filled the air, and even the birds were quiet.",
    ),
    Skill(
        "row a boat",
        "two small oars",
        "the boat went around and around in a circle",
        "pull with both arms at the same time",
        "The boat went straight over the lake, as smooth as butter.",
    ),
    Skill(
        "walk on stilts",
        "a pair of stilts",
        "one stilt went left, and one went right",
        "do not stand still, always keep walking",
        "{h.He} walked across the yard, as tall as a giraffe.",
    ),
    Skill(
        "catch a ball",
        "a soft red ball",
        "the ball flew right past {h.him} and into the soup pot",
        "keep your eyes on the ball",
        "The ball landed in {h.his} {h.hand}s, once, twice, three times.",
    ),
    Skill(
        "climb the rope",
        "a strong rope",
        "{h.he} hung there like a wet sock",
        "hold the rope with your feet, too",
        "{h.He} went up the rope and touched the branch at the top.",
    ),
    Skill(
        "stand on one {h.hand}",
        "a soft mat",
        "{h.he} fell over like a sack of beans",
        "push hard and look at the floor",
        "{h.He} stood on one {h.hand}, with both feet in the air.",
    ),
)


def skill(tale: Tale) -> None:
    """The hero learns something hard: it goes wrong, a tip helps, practice does the rest."""
    chance = tale.chance
    tale.cast_hero(animals=0.25)
    tale.cast_elder()
    tale.cast_friend()
    chosen = chance.pick(SKILLS)
    tale.put_line("skill", chosen.name)
    tale.put("tool", chosen.tool)
    tale.put_line("flop", chosen.flop)
    tale.put_line("tip", chosen.tip)
    tale.put_line("joy", chosen.joy)
    open_story(tale, SKILL_HOOKS)
    tale.say(SKILL_FIRST)
    tale.maybe(0.8, SKILL_SECOND)
    tale.paragraph()
    tale.say(SKILL_TIP, SKILL_WORK)
    tale.say(SKILL_WIN)
    if tale.chance.maybe(0.5):
        tale.say(SKILL_AFTER)
    else:
        close_story(tale, TRYING)


# A night without sleep

NIGHT_HOOKS = beat("""
    one night {h} could not sleep. The bed was too [hot|big|hard], and the night was too long.
    it was late, but {h} was wide awake. {h.He} turned to the left. {h.He} turned to the right.
    "I am not tired," said {h} one night, and {h.he} sat up in bed.
    one night {h} lay in bed and looked at the ceiling. Sleep did not come.
    one warm night {h} closed {h.his} eyes, but they popped open again.
    one night the wind was still and the house was quiet, but {h} was not sleepy at all.
    "I have slept enough for this week," {h} said one night, and looked at the dark window.
    one night {h} lay awake and listened. Tick, tock, went the clock. Tick, tock.
    everyone was asleep, only {h} was not. {h.He} moved {h.his} toes up and down.
""")
NIGHT_TRY = beat("""
    {h} counted sheep, but at [ten|twenty] the sheep all [ran away|began to dance].
    {h} drank a sip of water. {h.He} turned {h.his} pillow. Nothing helped.
    {h} hummed a song. That made {h.him} even more awake!
    {h} thought of boring things, like [socks|stones|soup]. But then {h.he} got hungry.
    {h} put the blanket over {h.his} head, but then {h.his} feet were cold.
    {h} told {h.himself} a story, but it was so good that {h.he} wanted to know how it went on.
    {h} lay on {h.his} back. {h.He} lay on {h.his} side. {h.He} lay with {h.his} feet on the pillow.
    {h} tried to hold {h.his} eyes shut with {h.his} {h.hand}s. It only made {h.him} laugh.
""")
NIGHT_GO = beat("""
    {h} went to {p} on bare feet. "I cannot sleep," {h.he} whispered. {p} put down {p.his} book. "Come with me," {p.he}
        said.
    {p} heard {h.him} and came in. "[Still awake|Are you not asleep]?" {p.he} asked. "Then I will show you something."
    "{p.name}?" {h} called softly. {p} came at once. "Let us see if the night can help," {p.he} said.
    {h} saw light under the door. There sat {p} with a cup of tea. "Can you not sleep either?" asked {p}.
    {h} tiptoed down the hall to {p}. "My sleep is gone," {h.he} said. "Then let us look for it," said {p}.
    the door opened a little, and there was {p}. "I heard you think," {p.he} said. "Come, I know a good place."
    {h} went to look for {p}. "Is it morning soon?" {h.he} asked. "Not for a long time," said {p}, and took {h.him} by
        the {h.hand}.
""")
NIGHT_OUT = beat("""
    they opened the window and leaned out. The air was cool and smelled of [grass|roses|hay]. The moon was [round|thin]
        and yellow.
    they sat on the steps in front of the house, wrapped in one blanket. Above them were a thousand stars.
    {p} carried {h} out under the sky. "The night is not empty," {p.he} said. "Just listen."
    they went to the window. "Look who else is awake," said {p}, and pointed to {awake}.
    they stood in the garden, very quiet. Somewhere they heard {awake}.
    {p} opened the door, and they looked out. It was not really dark. The whole garden was silver.
    they sat by the window with a cup of warm milk. Far away they could hear {awake}.
    outside, the grass was wet and cool under their feet. "Shh," said {p}. There was {awake}.
""")
NIGHT_LEARN = beat("""
    "Who says good night to the moon?" asked {h}. "You can," said {p}. "Good night, moon," said {h}.
    "Pick a star," said {p}. {h} picked a small one. "Now it will watch over you," {p.he} said.
    "Everything sleeps in the end," said {p}. "The [bees|hens] sleep, the [flowers|trees] sleep, and the wind lies down
        in the grass."
    "Where does the sun sleep?" asked {h}. "It does not sleep," said {p}. "It is [making morning|waking the children]
        on the other side of the world."
    {p} told {h} about a [boat|bird|train] that brings dreams to every house, one after the other. "Ours comes next,"
        {p.he} said.
    "Is the moon not tired?" asked {h}. "It rests in the day," said {p}, "and shines for those who are awake."
    {p} pointed up. "There is a bear made of stars," {p.he} said. {h} looked and looked, and then {h.he} saw it too.
    "Now we breathe with the wind," said {p}. "In, and out. In, and out." {h} did it, and it felt good.
""")
NIGHT_YAWN = beat("""
    {h} yawned. Then {p} yawned too, and both of them had to laugh.
    {h} put {h.his} head on {p.name}'s shoulder. {h.His} eyes grew heavy.
    "I think I [am getting sleepy|can hear it coming]," {h} murmured.
    {h} wanted to ask one more question, but it turned into a yawn.
    "One more minute," said {h}. But after half a minute {h.his} eyes were closed.
    "I will just close one eye," said {h}. Then {h.he} closed the other one.
    a big yawn came, and then a small one. {h} leaned on {p}.
    {h} rubbed {h.his} eyes. The stars were getting a little blurry.
""")
NIGHT_BED = beat("""
    {p} carried {h.him} to bed and [tucked {h.him} in|pulled up the blanket]. {h} was asleep before the door closed.
    back in bed, the pillow was soft and cool. {h} smiled, and then {h.he} slept.
    {p} laid {h} in bed and kissed {h.him}. "Sleep well," {p.he} whispered. But {h} was already far away in a dream.
    {h} climbed back into bed. Outside, the night went on without {h.him}, and that was just right.
    soon there was only one sound in the house, and it was {h}, who was snoring softly.
    and when the moon looked in a little later, {h} was asleep, and so was {p} in the chair next to {h.him}.
    "Good night," said {p}. There was no answer, only soft, slow breath.
    {h} did not see how {p} carried {h.him} back and put out the light. {h} was already asleep.
    under the warm blanket, {h} thought, "I am still not tired." And then {h.he} was asleep.
""")
AWAKE = (
    "an owl in the oak tree",
    "a cricket in the grass",
    "a frog in the pond",
    "a bird in the hedge",
    "a night bird on the roof",
)


def sleepless(tale: Tale) -> None:
    """The hero cannot sleep, tries this and that, and looks at the night with a grown-up."""
    tale.cast_hero(animals=0.3)
    tale.cast_elder()
    tale.put("awake", tale.chance.pick(AWAKE))
    open_story(tale, NIGHT_HOOKS)
    tale.say(NIGHT_TRY)
    tale.maybe(0.35, NIGHT_TRY)
    tale.paragraph()
    tale.say(NIGHT_GO, NIGHT_OUT)
    tale.say(NIGHT_LEARN)
    tale.paragraph()
    tale.say(NIGHT_YAWN, NIGHT_BED)
