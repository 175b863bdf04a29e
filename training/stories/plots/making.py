"""Things that are made: presents, cakes, buildings, gardens and birthdays."""

from typing import NamedTuple

from stories.common import COZY, FRIENDS, PATIENT, SHARING, TRYING, close_story, open_story
from stories.template import beat
from stories.world import Tale

# Making a present

GIFT_HOOKS = beat("""
    [:day], {h} wanted to [make|give] {p} a present, just to say "I love you."
    [:day], {h} remembered that tomorrow was {p.name}'s birthday, and {h.he} had no present yet!
    [:day], {h} thought, "{p.name} does so much for me. What can I do for {p.him}?"
    {p} had been [sick|sad] all week. [:day], {h} decided to make {p.him} a present.
    [:day], {h} counted {h.his} coins. There were only [two|three]. "I cannot buy a present for {p.name}," {h.he}
        thought.
    {h} loved {p} very much. [:day], {h.he} wanted to make something [beautiful|special] for {p.him}.
    [:day], {h} saw that {p} looked tired. "{p.name} needs a present," {h.he} thought.
    [:day], {h} lay in the grass and thought about {p}, who was always so good to {h.him}. "I want to give something
        back," {h.he} said.
    "What do you give to someone who has everything?" {h} wondered [:day]. It was almost time for {p.name}'s birthday.
""")
GIFT_PLAN = beat("""
    "I will make {gift}!" {h} said. {h.He} [got|found] {stuff} and sat down at the table.
    {h} looked around and found {stuff}. "I can make {gift} out of that!" {h.he} thought.
    then [:idea]. {h.He} would make {gift}. {h.He} quickly found {stuff} and began.
    what could it be? {h} thought about flowers and cake. No, it had to be {gift}! {h.He} took {stuff} and went to work.
    "What would {p.he} like best?" {h.he} wondered. "I know! {gift.A}!" All {h.he} needed was {stuff}.
    {h} turned around three times and thought. On the third turn {h.he} had it: {gift}! {h.He} took {stuff} and hid in
        a corner.
    "{gift.A}, that is it!" said {h}. From the cupboard {h.he} took {stuff}.
    in a drawer {h} found {stuff}. That was just enough to make {gift}.
""")
GIFT_SECRET = beat("""
    it had to be a secret, so {h} closed the door [softly|and hung a sign on it].
    "What are you doing?" called {p}. "Nothing!" said {h}, and {h.he} had to laugh.
    {h} worked and worked, with the tip of {h.his} tongue sticking out.
    {h} hummed a song and forgot the time.
    outside, the [wind blew|rain fell|birds sang], but {h} did not look up from {h.his} work.
    whenever {p} came near, {h} put a pillow on top of it and looked at the ceiling.
    time flew. {h} did not even hear the dinner bell.
    "You may not come in!" {h} called through the door, and {p} stayed outside with a smile.
""")
GIFT_FAIL = beat("""
    but oh no! {fail} {h} [wanted to cry|felt like crying].
    it was almost done when {fail.l} "Oh dear," {h} sighed.
    then it happened: {fail.l} All that work for nothing!
    all at once {fail.l} {h} [looked at it|put down {h.his} tools] and was [:sad].
    but {h} worked too fast, and {fail.l} "It is ruined," {h.he} said.
    {h} was just about to smile when {fail.l} How could that happen?
    everything went well. Everything went very well. And then {fail.l}
    "Almost done," {h} hummed. At that moment {fail.l} The humming stopped.
""")
GIFT_AGAIN = beat("""
    {h} [wiped {h.his} eyes|took a deep breath] and began again. This time {h.he} {careful}.
    {f} [came by|looked in at the window]. "Do not give up," {f.he} said. "Let us try once more." This time they
        {careful}.
    "I will not give up," {h} said. {h.He} started from the beginning and {careful}.
    {h} ate an apple and thought about it. Then {h.he} tried once more, and this time {h.he} {careful}.
    just then {f} knocked at the door. "I will help you," {f.he} said. Side by side they {careful}.
    "Things that are worth it are never easy," thought {h}. {h.He} started once more and {careful}.
    {h} asked {f} for help. {f} was good with {f.his} {f.hand}s, and together they {careful}.
    a little tear fell, and then {h} shook {h.his} head and laughed. "I know what to do now," {h.he} said, and
        {careful}.
    after a good sleep, everything looked better. {h} {careful}, and nothing went wrong this time.
""")
GIFT_DONE = beat("""
    in the evening it was done. It was {finish}.
    at last it was ready. It was {finish}, and {h} [liked|loved] it.
    it took a long time, but when it was done, it was {finish}.
    "There!" said {h}. It was {finish}, but you could see the love in it.
    and look! It was {finish}. {h} put a [ribbon|red bow] around it.
    bit by bit it became what it should be: {finish}.
    {h} held it up to the light. It was {finish}. It was just as {h.he} had seen it in {h.his} mind.
    was it good? It was very good. It was {finish}.
""")
GIFT_GIVE = beat("""
    "[Close your eyes|Hold out your {p.hand}s]," said {h}. {p} did, and {h} [gave {p.him} the present|put it in front
        of {p.him}].
    {h} hid it behind {h.his} back and [walked|ran] to {p}. "Guess what I have!" {h.he} said.
    {h} put it next to {p.name}'s [cup|plate|bed], so that {p.he} would find it in the morning.
    "This is for you," said {h}, a little shy. "I made it [myself|for you]."
    at dinner, {h} could not wait any longer. {h.He} pulled it out and [:called], "Surprise!"
    {h} went to {p} on tiptoe and laid it in {p.his} lap.
    {p} was sitting by the fire. "I have something for you," said {h}, and {h.his} ears turned red.
    "Knock, knock," said {h}. "Who is there?" asked {p}. "A present!" said {h}.
""")
GIFT_REACT = beat("""
    {p} looked at it for a long time, and {p.his} eyes were wet. "It is the best present of all," {p.he} said.
    "You made this for me?" {p} asked. {p.He} [picked {h} up|took {h} in {p.his} arms] and danced around the room with
        {h.him}.
    "How [beautiful|lovely|wonderful]!" said {p}, and {p.he} put it where everyone could see it.
    {p} [laughed|smiled] and cried at the same time. "I will keep it forever," {p.he} said.
    {p} gave {h} a [kiss|big hug] and said, "Nothing from a store could be as [nice|beautiful] as this."
    "I love it," said {p}, "and I love you even more."
    {p} did not say anything. {p.He} just held {h} for a long, long time.
    "With your own {h.hand}s?" asked {p}. {h} nodded. "Then it is worth more than gold," said {p}.
    "Oh, {h.name}," said {p}, and that was all {p.he} could say for a while.
    {p} turned it around and around. "It is perfect," {p.he} said, "because it comes from you."
""")


class Gift(NamedTuple):
    """A present: what it is made of, how it goes wrong, how it goes right, and how it looks in the end."""

    name: str
    stuff: str
    fail: str
    careful: str
    finish: str


GIFTS = (
    Gift(
        "a card",
        "paper and paint",
        "the paint ran all over the paper.",
        "painted slowly, line by line",
        "a bright card with a big red heart",
    ),
    Gift(
        "a necklace of shells",
        "shells and a string",
        "the string broke, and the shells rolled away.",
        "used a strong string with a good knot",
        "a necklace of white and pink shells",
    ),
    Gift(
        "a clay cup",
        "a big lump of clay",
        "the handle fell off.",
        "pressed the handle on with wet clay",
        "a round blue cup with a little star on it",
    ),
    Gift(
        "a wooden bird",
        "a piece of soft wood",
        "one wing broke off.",
        "worked with a light hand",
        "a little bird with brown wings",
    ),
    Gift(
        "a warm scarf",
        "two balls of wool",
        "the wool got into a big knot.",
        "made row after row with care",
        "a soft scarf, green and white",
    ),
    Gift(
        "a picture",
        "crayons and a large sheet of paper",
        "a cup of juice fell on the picture.",
        "put the juice far away and drew with care",
        "a picture of the whole family under a rainbow",
    ),
    Gift(
        "a paper lantern",
        "colored paper and glue",
        "the thin paper tore.",
        "folded it slowly and with care",
        "a lantern that shone like a little moon",
    ),
    Gift(
        "a small pillow",
        "a piece of cloth and a needle",
        "the stuffing came out at one side.",
        "made the stitches small and close",
        "a pillow as soft as a cloud",
    ),
    Gift(
        "a crown of flowers",
        "flowers from the meadow",
        "the stems broke, one by one.",
        "used long stems that could bend",
        "a crown of daisies and blue bells",
    ),
    Gift(
        "a box for buttons",
        "a little box and some paint",
        "the lid broke off.",
        "put on a new lid with glue",
        "a yellow box with tiny red dots",
    ),
)


def present(tale: Tale) -> None:
    """The hero makes a present for a parent or grandparent; the first try goes wrong."""
    tale.cast_hero()
    tale.cast_elder()
    tale.cast_friend()
    gift = tale.chance.pick(GIFTS)
    tale.put("gift", gift.name, A=gift.name.capitalize())
    tale.put("stuff", gift.stuff)
    tale.put("fail", gift.fail.capitalize(), l=gift.fail)
    tale.put("careful", gift.careful)
    tale.put("finish", gift.finish)
    open_story(tale, GIFT_HOOKS)
    tale.say(GIFT_PLAN)
    tale.maybe(0.25, GIFT_SECRET)
    tale.paragraph()
    tale.say(GIFT_FAIL, GIFT_AGAIN, GIFT_DONE)
    tale.paragraph()
    tale.say(GIFT_GIVE, GIFT_REACT)
    if tale.chance.maybe(0.2):
        close_story(tale, TRYING, COZY)


# Baking

BAKE_HOOKS = beat("""
    [:day], {h} and {p} wanted to bake {cake}.
    [:day], {h} [asked|said], "{p.name}, can we bake {cake} today?" {p} put on an apron and said yes.
    it was a gray day, and {h} was hungry for something sweet. "Let us bake {cake}," said {p}.
    [:day], {h} put on a big apron. {h.He} was going to bake {cake} with {p}!
    {h} had never baked {cake} before. [:day], {p} said, "Today I will show you how."
    [:day], {h} found {p.name}'s old cook book. On the first page was {cake}. "Oh, can we make that?" {h.he} asked {p}.
    [:day], {h} had a dream about {cake}. "Can we make it come true?" {h.he} asked {p}.
    [:sunny], {h} wanted to have a party, and for a party you need {cake}. {p} got out the big bowl.
    "What smells so good next door?" asked {h} [:day]. "I think it is {cake}," said {p}. "Shall we bake one, too?"
""")
BAKE_MIX = beat("""
    they [mixed|stirred] flour and butter in a big bowl, and soon there was flour on {h.name}'s nose.
    {h} [broke|cracked] the eggs, one, two, three. Only one bit of shell fell in, and {p} took it out with a spoon.
    {h} stirred, and {p} poured in the milk. The spoon went around and around.
    {p} read out what to do, and {h} did it: first the butter, then the eggs, then the flour.
    "May I lick the spoon?" asked {h}. "[Later|When we are done]," said {p} and winked.
    {h} washed {h.his} {h.hand}s, stood on a chair and began to stir.
    {p} measured, {h} poured, and a white cloud of flour rose into the air.
    {h} stirred until {h.his} arm was tired. Then {p} stirred until it was smooth.
    "More butter?" asked {h}. "More butter," said {p}. "It can never be too much."
""")
BAKE_LACK = beat("""
    but when {h} looked for the {lack}, there was none left. "What now?" {h.he} asked.
    "Now the {lack}," said {p}. {h} opened the [jar|cupboard]. It was empty!
    then {p} [stopped|frowned]. "Oh dear, we have no {lack}," {p.he} said.
    but where was the {lack}? They looked on every shelf and found [only salt|none].
    "Hand me the {lack}, please," said {p}. {h} looked for it, up on the shelf and down in the chest. It was all gone!
    the bowl was ready, the oven was hot, but the last of the {lack} had been used for breakfast.
    {h} shook the jar of {lack}. It made no sound. "Empty," {h.he} said.
""")
BAKE_FETCH = beat("""
    "I will ask our neighbor," said {h}. {h.He} ran [next door|down the path] with a cup. {n} filled it to the top.
    {h} knocked at the door of {n}. "[May I have|Could you lend us] some {lack}?" {h.he} asked. "[Of course, dear|With
        pleasure]," said {n}.
    [:idea]. {h.He} went to {n} and asked for help. "I have plenty of {lack}," said {n}. "Bring me a piece when it is
        done!"
    so {h} went to {n} with an empty cup and came back with a full one, very slowly, so that nothing would spill.
    there was one who always had everything: {n}. {h} ran over and came back with enough {lack} for three cakes.
    "Good neighbors help," said {n} when {h} asked, and {n.he} gave {h.him} a whole jar.
    {h} went to {n}. "We wanted to bake, but we have no {lack}," {h.he} said. "I can help with that," said {n}, and
        winked.
""")
BAKE_BURN = beat("""
    they put it in the oven and told stories. But the story was too long. "What is that smell?" asked {h}. It was burnt!
    {h} wanted to do it alone and took salt and not sugar! "Eww!" {h.he} said after the first bite.
    then {h} pulled the bowl too hard. Splash! It fell from the table, and everything was on the floor.
    it went into the oven, but {h} opened the door too soon to [look|see], and it fell flat as a [leaf|plate].
    they forgot the time, and when {p} opened the oven, everything was as black as [night|coal].
    {h} danced around the kitchen with the bowl. One step to the left, one to the right, and crash! It was all over the
        floor.
    they went outside to see a [rainbow|big cloud|butterfly], just for a moment. When they came back, smoke was coming
        from the oven!
    {h} put in salt, because it looked just like sugar. {p} tried a bit and made a very funny face.
""")
BAKE_RETRY = beat("""
    {h.name}'s lip shook. "Never mind," said {p}. "[Every cook has done that|It happens to me, too]. We will try again."
    {p} did not scold {h.him}. {p.He} began to laugh, and {h} had to laugh too. Then they started over.
    "I am sorry," said {h}. "[We learn from mistakes|Now we know how not to do it]," said {p}, and took out a clean
        bowl.
    "Shall we give up?" asked {p}. "No!" said {h}. They cleaned up and [made|mixed] everything once more.
    {h} wanted to hide. But {p} tied {h.his} apron again and said, "The second one is always better."
    "Now what?" asked {h}. "Now we do it again," said {p}, "and this time we know more."
    {p} laughed until {p.he} had to sit down. "Come, my little cook," {p.he} said. "Once more from the start."
""")
BAKE_OVEN = beat("""
    then it went into the hot oven. {h} sat in front of it and watched [it rise|through the little window].
    [:soon] the whole house smelled of {smell}. {h} could hardly wait.
    they waited and waited. "Is it done now?" {h} asked, again and again. At last {p} said yes.
    {p} set the clock, and {h} [counted|sang] until it rang. Ding!
    while it was in the oven, they washed the bowls, and {h} [had soap up to {h.his} ears|licked the spoon clean].
    warm air came from the oven, and the window turned white. {h} drew a sun on it with one {h.hand}.
    "You must not open the door," said {p}. {h} sat on {h.his} {h.hand}s and waited.
    a sweet smell went through the house, and it was {smell}. {h.name}'s tummy began to sing.
""")
BAKE_EAT = beat("""
    when {cake.the} was ready, it was golden and warm. {h} took a bite. "Mmm!" was all {h.he} could say.
    it was a little crooked, but it tasted [wonderful|like sunshine|so good].
    "It is the best {cake.noun} in the world," said {p}, with a full mouth.
    it was so good that {h} ate two [big|large] pieces and {p} ate three.
    {h} put {cake.the} on the table. They ate it [warm|while it was warm], with a glass of cold milk.
    "Careful, it is hot," said {p}. {h} blew on it, and took a bite, and closed {h.his} eyes.
    nobody said a word for a while. When it tastes that good, nobody talks.
    {p} cut {cake.the}, and {h} got the first piece. It was still warm inside.
""")
BAKE_SHARE = beat("""
    {h} took a piece to {n}. "[For me|How kind]!" said {n}, and {n.his} eyes shone.
    there was so much of it that {h} carried a plate to {n}, who [clapped|was so happy].
    then {h} called {f}, and they all ate together until only crumbs were left.
    they kept one piece for {f}, because {h} wanted to share.
    {f} came by just in time. "I [could smell|smelled] it from the road!" {f.he} said, and got the biggest piece.
    "Now for the best part," said {h}, and {h.he} took a big piece to {f}.
    {h} saw {n} at the window and waved. Soon there were three at the table.
    the last piece was for {n}, and {h} carried it over like a crown.
""")
CAKES = (
    ("an apple cake", "cake", "apples and sugar"),
    ("a berry pie", "pie", "warm berries"),
    ("a loaf of bread", "bread", "fresh bread"),
    ("a honey cake", "cake", "honey"),
    ("a cherry pie", "pie", "sweet cherries"),
    ("a carrot cake", "cake", "carrots and nuts"),
    ("a lemon cake", "cake", "lemon and butter"),
    ("a plum cake", "cake", "plums and sugar"),
    ("a big pan of sweet rolls", "food", "butter and sugar"),
    ("a loaf of nut bread", "bread", "nuts and butter"),
)
LACKS = ("sugar", "flour", "butter", "honey", "milk")


def baking(tale: Tale) -> None:
    """The hero bakes with a grown-up; something is missing, or goes wrong, and is set right."""
    chance = tale.chance
    tale.cast_hero()
    tale.cast_elder()
    tale.cast_neighbor()
    tale.cast_friend()
    cake, noun, smell = chance.pick(CAKES)
    tale.put("cake", cake, noun=noun, the=f"the {cake.split(maxsplit=1)[1]}")
    tale.put("smell", smell)
    tale.put("lack", chance.pick(LACKS))
    open_story(tale, BAKE_HOOKS)
    if chance.maybe(0.5):
        tale.say(BAKE_LACK, BAKE_FETCH)
        tale.paragraph()
        tale.say(BAKE_MIX)
    else:
        tale.say(BAKE_MIX)
        tale.paragraph()
        tale.say(BAKE_BURN, BAKE_RETRY)
    tale.say(BAKE_OVEN, BAKE_EAT)
    if chance.maybe(0.6):
        tale.say(BAKE_SHARE)
        close_story(tale, COZY, SHARING)
    else:
        close_story(tale, COZY)


# Building

BUILD_HOOKS = beat("""
    [:day], {h} wanted to build {building} {site}.
    [:sunny], {h} had a big plan. {h.He} would build {building} {site}.
    "I am going to build {building}," {h} told {p} [:day], "the best one ever!"
    [:day], {h} saw {building} in a book. "I want one too!" {h.he} said, and ran {site.to}.
    [:sunny], {h} went {site.to} to build {building}.
    [:day], {h} drew {building} on a sheet of paper. "And now I will make a real one," {h.he} said.
    [:sunny], {h} marched {site.to}, because {h.he} wanted to build {building} there.
    "What are you up to?" {p} asked {h} [:day]. "I am going to build {building}!" said {h}.
""")
BUILD_WORK = beat("""
    {h} carried {parts} until {h.his} arms were tired. Bit by bit, it grew.
    all morning {h} [worked|pulled and pushed] with {parts}. It began to look good.
    first {h} got {parts}. Then {h.he} [put|set] one piece on top of another.
    {h} used {parts}, and {h.he} whistled while {h.he} worked.
    with {parts} and a lot of [care|hope], {h} began.
    soon there was a big pile: {parts}, and much more. {h} worked like a bee.
    with {parts}, {h} pushed and pulled and hummed a tune.
    {h} took {parts} and set to work, and {h.he} did not even stop for lunch.
""")
BUILD_ALONE = beat("""
    "Can I help?" asked {f}, who came by. "No, I can do it alone," said {h}.
    {f} stopped to watch. "[Do you need a hand|Shall I help you]?" {f.he} asked. "No, thank you," said {h}. "It must be
        all mine."
    {f} had [come to see|looked on for a while]. "You should make it stronger down there," {f.he} said. {h} did not
        listen.
    "Two can build faster," said {f}, who was on {f.his} way to the [pond|mill]. But {h} wanted to do everything alone.
    {f} came along and [whistled|clapped]. "That is a lot of work for one," said {f}. "I am strong," said {h}.
    "Let me hold that," said {f}, who had seen it from the road. "Do not touch it!" said {h}. "I can do it by myself."
    {f} walked around it once. "Is that safe?" {f.he} asked. "Of course it is safe," said {h}.
""")
BUILD_FAIL = beat("""
    but then {ruin}. Crash! {h} stood there and [could not believe it|had no words].
    it was nearly done when {ruin}. "Oh no!" {h} cried.
    just as {h} stepped back to look at it, {ruin}.
    and then, without warning, {ruin}. {h} sat down in the middle of it all and [sighed|hid {h.his} face].
    but {h} had been too quick, and {ruin}. What a mess!
    it stood. It shook. And then {ruin}. That was that.
    {h} was about to shout "Ready!" when {ruin}.
    first there was a small sound, then a big one, and {ruin}. {h} could only stare.
""")
BUILD_HELP = beat("""
    {f} did not laugh. {f.He} [picked up a piece|sat down next to {h.him}] and said, "Come on, we can do it together."
    "I was silly," said {h}. "Will you help me?" {f} rolled up {f.his} sleeves. "I thought you would never ask!" {f.he}
        said.
    {h} looked at {f}. "You were right," {h.he} said. "[Please help me|Let us do it together]." {f} was glad to.
    "It only needs {fix}," said {f}. {h} [wiped {h.his} nose|looked up]. "Will you show me?" {h.he} asked.
    "Now we know what is wrong," said {f} [:kindly]. "Let us start again, you and I."
    "You can laugh at me now," said {h}. "I do not want to laugh," said {f}. "I want to help."
    {h} kicked the ground. "I should have let you help me," {h.he} said. "You still can," said {f}.
    {f} put a {f.hand} on {h.name}'s back. "Mine fell down three times last year," {f.he} said. "Come, I will show you
        a trick."
""")
BUILD_AGAIN = beat("""
    this time they began with {fix}. {h} held, and {f} [pushed|tied|pressed], and it stood firm.
    this time it got {fix}. One [held|lifted], and the other worked. It was much easier with two.
    with {fix} and four {h.hand}s, everything went well.
    {h} took care of {fix}, and {f} made it pretty with [leaves|feathers|flowers]. Nothing fell down now.
    they did not forget {fix}, and when it was done, it did not even shake.
    "What we need is {fix}," said {f}. {h} went to get it, and this time everything held.
    this time it had {fix}. {h} jumped up and down next to it, and nothing moved.
    they made it new from the start, with {fix}. {f} sang, {h} whistled, and the work was light.
""")
BUILD_PLAY = beat("""
    at last it was done. They {enjoy}, and {h} was so glad that {f} had helped.
    when it was ready, they {enjoy}. "We built that!" said {h}.
    in the afternoon they {enjoy} and ate [cherries|cookies|nuts] with a lot of laughing.
    {p} came to see it. "[What a fine thing|How strong it is]!" {p.he} said. {h} and {f} {enjoy} until dark.
    then they {enjoy}. "It is ours," said {h}, "because we made it together."
    "Ready?" asked {f}. "Ready!" said {h}. All day long they {enjoy}.
    that same day they {enjoy}, until {p} called them in for soup.
    and then came the best part: they {enjoy}. It was twice as good with two.
""")


class Building(NamedTuple):
    """Something to build: where, of what, how it falls down, what it lacked and what it is good for."""

    name: str
    site: str
    to: str
    parts: str
    ruin: str
    fix: str
    enjoy: str


BUILDINGS = (
    Building(
        "a tree house",
        "in the old oak tree",
        "to the old oak tree",
        "boards and ropes",
        "the floor came down",
        "stronger ropes",
        "sat high up in the leaves and could see the whole world",
    ),
    Building(
        "a sand castle",
        "on the beach",
        "to the beach",
        "wet sand and shells",
        "a big wave washed it away",
        "a deep ditch around it",
        "played king and queen",
    ),
    Building(
        "a raft",
        "by the pond",
        "to the pond",
        "logs and string",
        "the logs came apart in the water",
        "better knots",
        "floated over the water like two brave sailors",
    ),
    Building(
        "a little hut",
        "in the garden",
        "to the garden",
        "branches and leaves",
        "the wind blew it down",
        "thick branches at the bottom",
        "sat inside and told secrets",
    ),
    Building(
        "a bridge",
        "over the stream",
        "to the stream",
        "stones and boards",
        "the middle fell into the water",
        "a flat stone in the middle",
        "ran over it a hundred times",
    ),
    Building(
        "a bird house",
        "behind the house",
        "behind the house",
        "nails and thin boards",
        "the roof slid off",
        "longer nails",
        "watched two little birds move in",
    ),
    Building(
        "a swing",
        "under the big tree",
        "to the big tree",
        "a board and a rope",
        "the rope broke",
        "a new thick rope",
        "took turns and flew up to the leaves",
    ),
    Building(
        "a wagon",
        "behind the barn",
        "behind the barn",
        "old wheels and a box",
        "all four wheels fell off",
        "strong nails",
        "rolled down the little hill with a shout",
    ),
)


def building(tale: Tale) -> None:
    """The hero builds something alone, it falls down, and a friend helps to build it better."""
    tale.cast_hero()
    tale.cast_elder()
    tale.cast_friend()
    built = tale.chance.pick(BUILDINGS)
    tale.put("building", built.name)
    tale.put("site", built.site, to=built.to)
    tale.put("parts", built.parts)
    tale.put("ruin", built.ruin)
    tale.put("fix", built.fix)
    tale.put("enjoy", built.enjoy)
    open_story(tale, BUILD_HOOKS)
    tale.maybe(0.6, BUILD_WORK)
    tale.say(BUILD_ALONE)
    tale.paragraph()
    tale.say(BUILD_FAIL, BUILD_HELP, BUILD_AGAIN)
    tale.say(BUILD_PLAY)
    close_story(tale, FRIENDS, TRYING)


# A seed

SEED_HOOKS = beat("""
    [:day], {h} found a [tiny|small|round] seed [in {h.his} pocket|on the path|by the gate]. "What will you be?" {h.he}
        asked it.
    [:day], {p} gave {h} a [tiny|little|single] seed. "Plant it, and you will see something wonderful," said {p}.
    in spring, {h} got a [tiny|little] seed from {n}. "Take good care of it," said {n}.
    [:day], {h} asked, "{p.name}, where do {plants} come from?" {p} put a tiny seed into {h.his} {h.hand}. "From this,"
        {p.he} said.
    [:day], a bird dropped a seed right in front of {h}. "Is that for me?" {h.he} asked.
    [:day], {h} was eating lunch by the road when the wind blew a seed right into {h.his} cup.
    "What is inside a seed?" {h} asked {p} [:day]. "A whole plant," said {p}, "but it is still asleep." And {p.he} gave
        {h.him} one.
    [:day], {h} shook an old [coat|bag], and a seed fell out of it. It was as small as a crumb.
""")
SEED_PLANT = beat("""
    {h} dug a little hole {plot}, put the seed in and covered it with soft earth. "Good night, seed," {h.he} said.
    {h} planted it {plot} and gave it water from {h.his} little can.
    {h} made a small bed for it {plot}. {h.He} patted the earth and put a stick there, so that {h.he} would find the
        place.
    "It needs earth, water and sun," said {p}. So {h} planted it {plot}, where the sun shone all day.
    {h} pushed the seed into the earth {plot} with one {h.hand} and then watered it. "Grow!" {h.he} said.
    {plot}, {h} made a hole as deep as a thumb. In went the seed, over it went the earth, and then came a little rain
        from the can.
    {h} found a good place {plot}. "This is your bed," {h.he} told the seed, and covered it up.
    {h} put the seed in the ground {plot}, and {h.he} drew a ring around it, so that nobody would step on it.
""")
SEED_WAIT = beat("""
    the next morning, {h} ran to look. There was nothing but [brown|dark] earth. "Maybe tomorrow," said {p}.
    every day {h} went to see, and every day there was nothing. "Is it asleep?" {h.he} asked.
    one day went by, then two, then five. {h} wanted to dig it up and look! "No, no," said {p}. "[Wait|Give it time]."
    {h} sang to the seed. {h.He} even told it a story. But the earth stayed [empty|brown].
    "It does not work," said {h} after a week. "It works under the earth, where you cannot see it," said {p}.
    {h} lay down on the ground and put one ear on the earth. "I can hear it grow," {h.he} said. But there was nothing
        to see.
    on Monday nothing happened. On Tuesday nothing happened. On Wednesday {h} asked, "Is it broken?" "No," said {p}.
        "It is busy."
    "How long does it take?" asked {h}. "As long as it needs," said {p}. That was a very long time.
""")
SEED_TROUBLE = beat("""
    then a hot, dry time came, and {h} had to carry water every morning and every evening. {h.His} arms got tired, but
        {h.he} did it.
    one night it was very cold. {h} covered the place with [leaves|straw], so that the seed would not freeze.
    a hungry [bird|hen] came to scratch in the earth. "Shoo!" called {h}, and built a little fence around it.
    once {h} forgot to water it for three days. The earth was hard and dry! {h.He} said sorry and ran for the can.
    rain fell for a whole week. {h} dug a small ditch so that the seed would not [drown|sit in a puddle].
    a snail wanted to move in. {h} picked it up and carried it to the other end of the garden.
    the wind blew so hard that {h} put a big pot over the place all night.
    then there was no rain for weeks. Each day {h} gave the seed some of {h.his} own drinking water.
""")
SEED_SPROUT = beat("""
    and then, one [bright|warm] morning, there was a tiny green tip! {h} [danced|jumped] for joy.
    at last two small green leaves came out of the earth. "Hello!" [whispered|said] {h}. "You are here!"
    "Come quick!" {h} called one morning. Something small and green was looking at the sun.
    one day {h} looked closely, and then even more closely. A green thread! It was no bigger than an ant.
    and when {h} did not think of it at all, the seed woke up. A little green leaf [waved|shook] in the wind.
    and then, between two crumbs of earth, there was something green! {h} did not dare to breathe.
    "Good morning," said {h}, as on every day. But this time somebody was there: a tiny green plant with two leaves.
    one morning the earth had a crack, and out of the crack came a little green hook. "It is awake!" {h} [:called].
""")
SEED_GROW = beat("""
    it grew and grew. By summer it was {grown}.
    day after day it grew taller, until it was {grown}.
    {h} [cared for|watered] it all spring, and in the end it was {grown}.
    the sun shone, the rain fell, and at last it was {grown}. "All that from one seed!" {h} said.
    weeks went by, and {h} never forgot the water. In summer it was {grown}.
    first it had two leaves, then four, then more than {h} could count. In the end it was {grown}.
    {h} measured it every week. It was as high as {h.his} knee, then as high as {h.his} nose, and then it was {grown}.
    summer came, and there it stood: {grown}. {h} could hardly believe it.
""")
SEED_SHARE = beat("""
    {h} called {f} to see it, and they sat beside it [all afternoon|until the stars came out].
    {p} said, "You gave it love, and look what it gives you." {h} was [:happy].
    {h} shared it with {f}, and kept the [new|little] seeds for next year.
    everyone came to look at it. "How did you do it?" they asked. "I waited," said {h}.
    {h} gave a part of it to {f}, who wanted to plant a seed as well.
    {h} showed it to {n}, who knew a lot about gardens. "I could not have done it better," said {n}.
    a bee came to visit it, then a bird, then {f}. There was room for all.
    {h} gave one seed of it to {f}. "Be patient," {h.he} said. "It is busy, even when you cannot see it."
""")
PLANTS = (
    ("flowers", "a sunflower, taller than {h.name}"),
    ("pumpkins", "a pumpkin as big as a chair"),
    ("beans", "a bean plant that went all the way up to the roof"),
    ("melons", "a melon, round and heavy and sweet"),
    ("berries", "a bush full of sweet red berries"),
    ("roses", "a rose bush with ten pink roses"),
    ("peas", "a row of green leaves, full of sweet peas"),
    ("tomatoes", "a plant full of red tomatoes"),
)
PLOTS_OF_EARTH = ("behind the house", "next to the fence", "in a corner of the garden", "in a big pot", "by the wall")


def seed(tale: Tale) -> None:
    """The hero plants a seed, waits, guards it, and sees it grow."""
    tale.cast_hero()
    tale.cast_elder()
    tale.cast_friend()
    tale.cast_neighbor()
    plants, grown = tale.chance.pick(PLANTS)
    tale.put("plants", plants)
    tale.put_line("grown", grown)
    tale.put("plot", tale.chance.pick(PLOTS_OF_EARTH))
    open_story(tale, SEED_HOOKS)
    tale.say(SEED_PLANT)
    tale.paragraph()
    tale.say(SEED_WAIT)
    tale.maybe(0.4, SEED_TROUBLE)
    tale.paragraph()
    tale.say(SEED_SPROUT, SEED_GROW)
    tale.maybe(0.4, SEED_SHARE)
    close_story(tale, PATIENT)


# A birthday surprise

BIRTHDAY_HOOKS = beat("""
    it was {h.name}'s birthday. {h.He} woke up early and ran to the kitchen, but nobody was there.
    [:day], {h} woke up and laughed. It was {h.his} birthday!
    "Today I am [five|six|seven] years old!" said {h} [:day] and jumped out of bed.
    [:day], {h} was so excited that {h.he} could not eat. It was {h.his} birthday at last.
    {h} had [waited|counted the days] for weeks. Now the big day had come: it was {h.his} birthday.
    [:day], the sun tickled {h.name}'s nose. {h} opened {h.his} eyes and knew at once: today was {h.his} birthday!
    {h} had made a line on the wall for each day. [:day], there were no more lines to make, because it was {h.his}
        birthday.
    [:day], {h} came down the stairs with {h.his} best hat on. It was {h.his} birthday, after all.
""")
BIRTHDAY_FORGOT = beat("""
    but {p} only said, "Good morning. [Did you sleep well|It may rain today]," and went on [reading|sweeping the floor].
    {h} went to {p} and waited. "[Could you get some water|Please feed the hens]," said {p}. Not a word about the
        birthday!
    "Do you know what day it is?" {h} asked {p}. "[A fine day|Washing day], I think," said {p}, and looked away.
    {h} smiled at {p}. {p} gave {h.him} some bread and said nothing. There was no cake, not even a [song|candle].
    {p} was washing the dishes. "Are you going out to play?" {p.he} asked. {h} waited for more, but that was all.
    there were no flowers on the table, and {p} was in a hurry. "There is bread in the kitchen," {p.he} said, and went
        out.
    "Today is a special day," said {h}. "Yes," said {p}, "the sun is out, and I must hang up the wash."
""")
BIRTHDAY_FRIEND = beat("""
    {h} ran to see {f}. "I have no time to play," {f.he} said, and [closed|shut] the door quickly.
    outside {h} met {f}. "[I must go|I am in a hurry]," said {f}. {f.He} hid something behind {f.his} back and ran off.
    {h} went to find {f}. But {f} was not at home, and neither was anyone else.
    then {h} saw {f} with a big [bag|basket]. "Wait!" {h.he} called, but {f} was gone around the corner.
    then {h} met {f} at the corner. "Hello!" said {h}. {f} turned red, said something about soup, and ran away.
    {h} went to play with {f}. "Not today," {f.he} said, "I have a tummy ache." But {f.he} did not look sick at all.
    {h} called to {f} over the fence. {f} jumped and quickly put a blanket over something. "Come back later!" {f.he}
        said.
""")
BIRTHDAY_ALONE = beat("""
    {h} sat on the [swing|steps|old log] all alone. "Everyone forgot me," {h.he} thought, and {h.his} eyes got wet.
    "Nobody remembers," {h} whispered. {h.He} picked a flower and gave it to {h.himself}.
    {h} walked to the pond and told a [duck|frog] about it. It seemed to listen.
    "Happy birthday to me," {h} sang, very softly. It was a sad little song.
    {h} went for a long walk and kicked a stone [along the road|down the path]. What a bad birthday!
    so {h} sat by the stream and threw leaves into the water. Each leaf was a birthday guest, and each of them swam
        away.
    "Maybe it is not my birthday," thought {h}. But it was, and nobody knew.
    {h} made a cake out of mud and put a twig on top. It did not look like a real one.
""")
BIRTHDAY_HOME = beat("""
    when it got dark, {h} went home. There was no light in the window. Slowly {h.he} opened the door.
    in the evening {h} went home. Everything was dark and quiet. That was strange. {h.He} pushed open the door.
    then {h} heard {p} call, "Come in, please. I need your help." {h} went inside. It was dark.
    {h} went home at last. On the door was a note: "[Come into the garden|Look behind the house]." {h.He} went on
        tiptoe.
    when the first star came out, {h} walked home. There was not one light in the house. {h.He} put a {h.hand} on the
        door.
    it was getting cold, so {h} went home. "Hello?" {h.he} called into the dark. At first there was no answer.
    slowly, {h} went back. Behind the door somebody giggled. {h.He} stopped. Then {h.he} opened it.
""")
BIRTHDAY_SURPRISE = beat("""
    "Surprise!" everyone shouted. There were {f} and {p}, with [lanterns|balloons] and a cake with candles on it!
    all at once there was light everywhere. "Happy birthday, {h.name}!" cried {f} and {p} and all the others.
    "One, two, three, surprise!" cried many voices. {f} threw [paper stars|flowers] in the air, and {p} held a big cake.
    suddenly the lights went on, and {f} and {p} began to sing. On the table stood a cake as high as a hat.
    "Surprise! Surprise!" The room was full of lights, and there stood {f} and {p} with paper hats on their heads!
    and then there was a song, sung by {f} and {p} and half of the neighbors. In the middle stood a cake, and it was as
        big as a wheel.
    out from under the table, from behind the door and from the cupboard they came: {f}, {p} and all the rest. "Happy
        birthday!" they called.
""")
BIRTHDAY_WHY = beat("""
    "Did you think we forgot?" asked {f}. "We had to get everything ready. It was so hard not to tell you!"
    "So that is why you ran away!" {h} said to {f}. {f.He} grinned. "I had your present in my {f.hand}s!"
    "How could we forget you?" said {p}, and kissed {h.him}. "A surprise needs a secret."
    {h} did not know if {h.he} should laugh or cry, so {h.he} did both.
    "I thought nobody knew," said {h}. "We have been [baking|planning] since last week," said {p}.
    "You were so strange today," said {h}. "I am bad at secrets," said {f}. "I had to run away!"
    "I am so glad," said {h}. "And we are so glad that you did not look into the kitchen," said {p}.
    "We could not say a word," said {f}. "Or else it would not be a surprise!" {h} laughed and hugged them both.
""")
BIRTHDAY_GIFT = beat("""
    {f} gave {h} {gift}. {h} had wished for that all year.
    then {h} opened {h.his} present. It was {gift}, just what {h.he} had wanted!
    from {p} {h} got {gift}, and from {f} a [song|big hug].
    there was a box with a [red|blue|golden] ribbon, and inside it was {gift}. "Oh!" said {h}.
    {p} and {f} had one present together, and it was {gift}. {h} did not let go of it all evening.
    "Open it, open it!" called {f}. {h} did. It was {gift}!
    {f} pushed a box into {h.name}'s arms. Under a lot of paper was {gift}.
""")
BIRTHDAY_END = beat("""
    {h} closed {h.his} eyes, made a wish and blew out the candles. It was the best birthday ever.
    they danced and sang until late. "Can it be my birthday again tomorrow?" asked {h}, and everyone laughed.
    [:night], {h} whispered, "They did not forget me at all," and fell asleep with a smile.
    {h} took the biggest piece of cake and gave it to {f}. It was a day that {h.he} would never forget.
    when all the cake was eaten, {h} hugged everyone. No one in the world was as happy as {h.he}.
    "What did you wish for?" asked {f}. "I cannot tell," said {h}. "But I think it came true."
    {h} thought about the sad and lonely morning, and had to laugh. What a day!
    late that night, {h} lay in bed with a full tummy and a full heart.
    "I will never think that you forgot me again," said {h}. "Until next year," said {p}, and winked.
""")
BIRTHDAY_GIFTS = (
    "a blue kite",
    "a silver whistle",
    "a book about the sea",
    "a box of paints",
    "a red drum",
    "a pair of warm boots",
    "a little boat with a white sail",
    "a yellow hat",
    "a ball with stars on it",
    "a wooden flute",
    "a green wagon",
)


def birthday(tale: Tale) -> None:
    """Everyone seems to have forgotten the hero's birthday, but there is a surprise."""
    tale.cast_hero()
    tale.cast_elder()
    tale.cast_friend()
    tale.put("gift", tale.chance.pick(BIRTHDAY_GIFTS))
    open_story(tale, BIRTHDAY_HOOKS)
    tale.say(BIRTHDAY_FORGOT)
    if tale.chance.maybe(0.5):
        tale.say(BIRTHDAY_FRIEND)
        tale.paragraph()
        tale.say(BIRTHDAY_HOME, BIRTHDAY_SURPRISE, BIRTHDAY_WHY)
    else:
        tale.say(BIRTHDAY_ALONE)
        tale.paragraph()
        tale.say(BIRTHDAY_HOME, BIRTHDAY_SURPRISE, BIRTHDAY_GIFT)
    tale.say(BIRTHDAY_END)
