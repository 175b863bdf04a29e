"""Friends: quarrels, sharing, races, borrowed things and new faces."""

from typing import NamedTuple

from stories.common import FRIENDS, HONEST, SHARING, close_story, open_story
from stories.template import beat
from stories.world import Tale

# A quarrel

QUARREL_HOOKS = beat("""
    [:sunny], {h} and {f} were [playing|busy] together. There was only one {prize}, and both of them wanted it.
    [:day], {h} was playing with a {prize} when {f} came by. {f} wanted to have it too.
    [:day], {h} and {f} found a {prize} in an old box. "It is mine!" they both said at once.
    [:sunny], {h} and {f} wanted to play with the same {prize}.
    [:day], {h} had a new {prize}. {f} [reached for it|took it] without asking.
    [:day], {h} and {f} could not agree whose turn it was to have the {prize}.
    [:day], {h} and {f} found a {prize} by the road. "I saw it first!" cried one. "No, I did!" cried the other.
    [:sunny], {h} and {f} sat in the garden with a {prize} between them. Each of them wanted it for the whole day.
    [:day], {h} lent {f} a {prize}. But when {h.he} wanted it back, {f} would not give it up.
""")
QUARREL_ANGRY = beat("""
    "I had it first!" said {h}. "No, I did!" said {f}. They pulled and pulled, and [{broke}|{broke}]
    "Give it to me!" [:called] {h}. "No!" said {f}, and held on. Then [{broke}|{broke}]
    "You never [share|let me play]," said {f}. "And you always [want everything|start a fight]," said {h}. They both
        pulled, and {broke}
    {h} pulled on one side and {f} pulled on the other. Oh no! {broke}
    "[Let go|Mine]!" said {h}. "[You let go|No, mine]!" said {f}. All at once {broke}
    one held it here, and one held it there. "Mine!" "No, mine!" And then {broke}
    "You had it all morning," said {h}. "But you had it yesterday," said {f}. They tugged at it until {broke}
    {h} grabbed it. {f} grabbed it too. They shouted so loud that the birds flew away, and then {broke}
    their faces grew red and their voices grew loud. Neither would let go. Then {broke}
""")
QUARREL_PART = beat("""
    "Look what you did!" they both said. {f} went home without [a word|saying goodbye].
    "I do not want to play with you anymore," said {h}. {f} [turned around|picked up {f.his} hat] and walked away.
    {h} was angry. {f} was angry too. They sat [back to back|far apart] and did not [speak|look at each other].
    "Then I will play alone!" said {h}, and ran home. {f} [looked at the ground|ran the other way].
    {f} began to cry and ran [home|off]. {h} stood there alone and did not feel good at all.
    "It is your fault," said {h}. "No, yours," said {f}. Then each of them went home, and two doors went bang.
    they looked at the {prize}, and then at each other, and then each one went a different way.
    {f} stamped {f.his} foot and went off. {h} called something after {f.him} that was not nice at all.
    nobody laughed anymore. {f} left, and {h} kicked a stone.
""")
QUARREL_LONELY = beat("""
    {h} tried to play alone, but it was no fun without {f}. The house was much too quiet.
    all afternoon {h} [sat at the window|looked at the wall]. {h.He} missed {f.name}'s [laugh|jokes|songs].
    at dinner {h} did not want to eat. "What is wrong?" asked {p}. {h} told {p.him} [everything|about the quarrel].
    [:night], {h} could not sleep. {h.He} thought of the [mean|angry] words {h.he} had said.
    {h} built a tower of blocks, but who could help with the top? {h.He} thought of {f} and sighed.
    {h} told {p} what had happened. "What do you want more," asked {p}, "the {prize} or your friend?"
    {h} wanted to tell {f} a joke, but {f} was not there. A joke is no good without a friend.
    the day was long. {h} had both ends of the jump rope now, but nobody to jump.
    "Why is it so quiet today?" asked {p}. {h} only shook {h.his} head and blinked away a tear.
    {h} looked at the place where {f} always sat. It was very empty.
""")
QUARREL_PLAN = beat("""
    in the morning, {h} [mended the {prize} with glue and string|worked hard to mend the {prize}] and took it to
        {f.name}'s house.
    {h} [took some glue|found some string] and mended the {prize}. Then {h.he} went to see {f}.
    the next day, {h} mended the {prize}, picked some flowers and [walked|ran] to {f.name}'s door.
    "I will go and say that I am sorry," {h} decided. {h.He} mended the {prize} and ran all the way to {f.name}'s house.
    [:next], {h} wanted to go and see {f}. But there {f.he} stood at the door, with a pot of glue in {f.his} {f.hand}!
    [:next], there was a knock. It was {f}, with glue and string to mend the {prize}.
    "Someone has to be first," {h} thought. {h.He} mended the {prize} and took it to {f.name}'s house.
    so {h} got up, mended the {prize} as well as {h.he} could, and went to look for {f}. {f} was sitting by the pond,
        alone.
    that was enough. {h} took the {prize}, some glue and the biggest apple in the house, and ran to {f}.
""")
QUARREL_SORRY = beat("""
    "I am sorry," said {h}. "I am sorry too," said {f}. And then they both [laughed|smiled].
    "I was [mean|unkind]," {h} said. "Will you forgive me?" "Yes," said {f}, "if you forgive me too."
    they both said "I am sorry!" at the very same time, and [it made them laugh|then they laughed and laughed].
    "Can we be friends again?" asked {h} [in a small voice|softly]. "[Of course|We always were]," said {f}, and hugged
        {h.him}.
    {h} looked at {h.his} feet. "I am sorry I pulled so hard," {h.he} said. "So am I," whispered {f}.
    {h} had a long speech ready, but all that came out was "Sorry." It was enough. {f} hugged {h.him}.
    "It was a silly fight," said {h}. "Very silly," said {f}, and the corners of {f.his} mouth went up.
    "I missed you," said {f} quickly. "I missed you too," said {h}, and the quarrel was over.
    neither of them knew what to say. Then {f} held out {f.his} {f.hand}, and {h} took it.
""")
QUARREL_TURNS = beat("""
    from then on they took turns. First {f} had the {prize}, and then {h}.
    "You go first," said {h}. "No, you go first," said {f}. What a funny quarrel that was!
    now they [shared|played with] the {prize} together, and it was twice as much fun.
    {h} counted to ten, and then it was {f.name}'s turn, and then they [changed|started] again.
    they made up a new game with the {prize} for two, and it was better than [any game before|playing alone].
    {h} had the {prize} on odd days, and {f} had it on even days, and on Sundays they had it together.
    they painted both of their names on the {prize}, so that it belonged to two.
    in the end they forgot the {prize} and played tag, because that takes two.
""")
PRIZES = (
    ("red kite", "the kite tore in two."),
    ("blue kite", "the string of the kite broke."),
    ("wooden train", "a wheel fell off the train."),
    ("little drum", "the drum fell on a stone and cracked."),
    ("green wagon", "a wheel came off the wagon."),
    ("picture book", "a page of the book tore."),
    ("toy boat", "the sail of the boat came off."),
    ("wooden horse", "one leg of the horse broke off."),
    ("paper crown", "the crown tore in two."),
    ("toy castle", "the tower of the castle broke off."),
)


def quarrel(tale: Tale) -> None:
    """Two friends fight over a thing and break it; the hero mends it, and they make up."""
    tale.cast_hero()
    tale.cast_friend()
    tale.cast_elder()
    prize, broke = tale.chance.pick(PRIZES)
    tale.put("prize", prize)
    tale.put("broke", broke)
    open_story(tale, QUARREL_HOOKS)
    tale.say(QUARREL_ANGRY)
    tale.say(QUARREL_PART)
    tale.paragraph()
    tale.say(QUARREL_LONELY, QUARREL_PLAN)
    tale.say(QUARREL_SORRY)
    tale.maybe(0.6, QUARREL_TURNS)
    close_story(tale, FRIENDS)


# Sharing food

FOOD_HOOKS = beat("""
    [:sunny], {h} sat [under a tree|on a bench|by the stream|on a log] with two {foods}.
    [:day], {p} gave {h} two {foods} [for the road|in a little bag]. {h} [ran outside|skipped off] with them.
    [:sunny], {h} had [two fresh|two lovely] {foods} in {h.his} basket. "These are all for me," {h.he} thought.
    [:day], {h} could hardly wait for lunch. In {h.his} bag were two {foods}, and they smelled so good!
    [:sunny], {h} went for a walk with two {foods} in {h.his} bag.
    {h} loved {foods} more than any other food. [:day], {h.he} had two of them!
    [:sunny], {h} climbed up the hill with two {foods}. {h.He} wanted to eat them at the top.
    [:day], {h} bought two {foods} with {h.his} own coins. How proud {h.he} was!
    {p} made the best {foods} in the world. [:day], {h} got two of them, still warm.
    [:day], {h} walked along the river, with one {food} in each {h.hand}.
""")
FOOD_MEET = beat("""
    then {f} came along. {f.He} [had no lunch|had forgotten {f.his} lunch] and looked [hungry|sad].
    just then {h} saw {f} on a big stone. "[My lunch fell in the mud|A goat ate my lunch]," {f.he} said.
    {h} was about to take a bite when {f} came by. {f.name}'s tummy made a loud sound. Grumble, grumble!
    a little way off sat {f}, with nothing to eat. {f.He} looked at the {foods} and then quickly looked away.
    "Hello!" called {f}. "Mmm, what smells so good? I [have not eaten all day|had no breakfast]."
    on the path stood {f}. "I lost my lunch bag," {f.he} said sadly. "[A bird took it|It fell into the river]!"
    under a tree lay {f}. "I have been walking since morning," {f.he} said, "and I have nothing left to eat."
    there was {f}, who looked into {f.his} empty bag. "I ate it all at breakfast," {f.he} said with a sigh.
    on the bridge {h} met {f}. {f.He} said nothing, but {f.his} eyes went to the {foods} and stayed there.
""")
FOOD_DOUBT = beat("""
    {h} looked at the two {foods}. "If I give one away, I have only one," {h.he} thought.
    {h} held the {foods} tight. {h.He} was hungry too, and two are more than one.
    "Should I [hide them|eat fast]?" {h} thought. But then the food would not taste good at all.
    at first {h} wanted to keep both {foods}. But {f} looked so [tired|sad|hungry].
    {h} thought about it. What would {p} say? "[A friend is worth more than a full tummy|Share what you have]."
    one {food} for now and one for later, that had been {h.name}'s plan. But {h.he} looked at {f} and [thought
        again|changed {h.his} mind].
    two {foods} for one, or one {food} each? {h} was never good at numbers, but that was easy.
    {h.name}'s tummy said no. {h.His} heart said yes. They argued for a while.
    {h} smelled the {foods}. It would be hard to give one up. But it would be harder to eat alone.
""")
FOOD_SHARE = beat("""
    "Come and sit with me," said {h}. "[One {food} for you, and one for me|There is one for each of us]."
    {h} [moved over|made room]. "Here," {h.he} said, "this one is for you." {f.name}'s eyes [grew big|began to shine].
    "Do you like {foods}?" asked {h}, and gave {f.him} the bigger one. "I love them!" said {f}.
    so {h} put one {food} into {f.name}'s {f.hand}. "[Eat with me|Let us eat together]!" {h.he} said.
    "Guess what," said {h}. "I have two {foods}, and we are two!" {f} [laughed|clapped {f.his} {f.hand}s].
    "I have one too many," said {h}, and it was almost true. {f} took it with a big smile.
    without a word, {h} held out a {food}. "For me?" asked {f}. "For you," said {h}.
    "Close your eyes and open your {f.hand}s," said {h}. When {f} looked again, there was a {food}.
    "I cannot eat while you are hungry," said {h}. "It would not taste right. Here!"
""")
FOOD_EAT = beat("""
    they ate and talked, and {h} thought that no {food} had ever tasted so good.
    side by side they ate every [bit|crumb]. The birds got the last little crumbs.
    "[Delicious|Yummy|How good]!" they both said, and they laughed with full mouths.
    they ate slowly and looked at the clouds. "That one looks like a {food}," said {f}, and they laughed.
    it was the [nicest|best] lunch in the world, and it was over much too soon.
    one bite, two bites, three bites, and then they told each other what they had dreamed last night.
    {f} ate slowly and hummed. {h} ate quickly and laughed. Both were happy.
    they made a feast of it, with a leaf for a plate and a stone for a table.
    an ant came by and got a crumb too. "That makes three of us," said {h}.
""")
FOOD_BACK = beat("""
    the next day {h} forgot {h.his} own lunch. "Do not worry," said {f}, and shared {f.his} [bread and
        cheese|soup|cherries].
    when it began to rain, {f} held {f.his} big umbrella over them both. "Now I share with you," {f.he} said.
    "Wait here," said {f}. {f.He} ran off and came back with [a hat full of|a handful of|sweet red] berries for dessert.
    on the way home {h} [fell and hurt {h.his} knee|got tired]. {f} took {h.name}'s {h.hand} and helped {h.him} home.
    then {f} showed {h} a secret: a [tree full of ripe plums|bush full of sweet berries]. "[Half|The best ones] for
        you," {f.he} said.
    a week later, {f} knocked at the door with a whole [plate|basket] of {foods}. "For my kind friend!" {f.he} said.
    "I have no food," said {f}, "but I have a song." It was a lovely song, and {h} hummed it for days.
    after lunch {f} showed {h} how to [fold a boat|whistle on a leaf|make a crown of daisies]. That was {f.his} way to
        say thank you.
    the next time they met, {f} had a big bag. "Today you are my guest," {f.he} said, and laughed.
""")
FOODS = (
    ("apple", "apples"),
    ("pear", "pears"),
    ("muffin", "muffins"),
    ("cookie", "cookies"),
    ("pancake", "pancakes"),
    ("sweet bun", "sweet buns"),
    ("peach", "peaches"),
    ("honey cake", "honey cakes"),
    ("berry pie", "berry pies"),
    ("cheese roll", "cheese rolls"),
    ("plum cake", "plum cakes"),
    ("nut cake", "nut cakes"),
    ("orange", "oranges"),
)


def sharing(tale: Tale) -> None:
    """The hero has two good things to eat and shares with a hungry friend, who gives something back."""
    tale.cast_hero()
    tale.cast_friend()
    tale.cast_elder()
    food, foods = tale.chance.pick(FOODS)
    tale.put("food", food)
    tale.put("foods", foods)
    open_story(tale, FOOD_HOOKS)
    tale.say(FOOD_MEET)
    if tale.chance.maybe(0.5):
        tale.paragraph()
    tale.say(FOOD_DOUBT, FOOD_SHARE, FOOD_EAT)
    if tale.chance.maybe(0.5):
        tale.paragraph()
    tale.say(FOOD_BACK)
    close_story(tale, SHARING, FRIENDS)


# A race

RACE_HOOKS = beat("""
    [:day], {f} said to {h}, "Let us have a race to {goal}!"
    [:day], there was a big race to {goal}. {h} wanted to run, and so did {f}.
    [:sunny], {h} and {f} stood side by side, ready to race to {goal}.
    "I can run faster than anyone," said {f} [:day]. {h} was not so sure. "Then let us race to {goal}!" {h.he} said.
    every summer there was a race to {goal}. This year {h} and {f} were old enough to run.
    [:day], {h} wanted to find out who was faster, {h.he} or {f}. "First one to {goal} wins!" {h.he} said.
    "Who is the fastest of all?" asked {h} [:day]. "I am!" said {f}. So they made a race of it, all the way to {goal}.
    [:sunny], {h} tied {h.his} shoes with a double knot. Today was the race to {goal}, and {f} was the one to beat.
    {h} and {f} did everything together. But [:day] they wanted to see who would be first at {goal}.
""")
RACE_START = beat("""
    "Ready, set, go!" called {p}. {f} shot off like an arrow, and {h} ran behind as fast as {h.he} could.
    {p} waved a [red|white|yellow] flag, and off they went. {h} was fast, but {f} was faster.
    "One, two, three, run!" {p} shouted. {h} ran so fast that {h.his} hat flew off.
    {p} blew a whistle. {h} slipped at the start, but {h.he} jumped up and ran on.
    "Go!" cried {p}. Feet flew over the grass. At first {h} was in front, but then {f} [ran past|went by] with a laugh.
    "Are you ready?" asked {p}. "Then run!" They flew over the grass like two birds.
    {p} dropped a red cloth, and it began. {h} was first, then {f}, then {h} again.
    {p} counted, "Three, two, one!" {h} ran like the wind, and {f} was right behind.
""")
RACE_MIDDLE = beat("""
    {h.name}'s legs were tired. "Just one more step," {h.he} told {h.himself}, "and one more, and one more."
    over the bridge they ran, and past the [mill|barn|big tree]. {h} came closer and closer.
    up the hill they went. {h} [puffed|breathed hard], but {h.he} did not stop.
    {h} jumped over a [log|puddle|stream] and ran through the tall grass. Now they were side by side!
    "I cannot do it," thought {h}. But then {h.he} heard {p} [cheer|call {h.his} name], and it gave {h.him} [new
        strength|wings].
    a hen had to jump out of the way, and a dog barked. On they ran.
    "Faster, legs, faster!" thought {h}. The trees flew by.
    the road went up and down, and the sun was hot. {h} could hear {f.name}'s steps.
""")
RACE_FALL = beat("""
    then it happened. {f} looked back, [tripped over a root|stepped into a hole], and fell. "Ouch!" {f.he} cried.
    suddenly {f} slipped in the mud and fell down. {f.He} held {f.his} knee and [could not get up|began to cry].
    all at once there was a cry. {f} had [fallen over a stone|tripped on a log] and hurt {f.his} foot.
    but in the last turn {f} ran too fast. {f.He} slipped and rolled into a [bush|ditch].
    there was a wet stone on the path. {h} jumped over it. {f} did not see it, and down {f.he} went.
    "Oh!" cried somebody behind {h.him}. It was {f}. {f.He} lay in the grass and held {f.his} foot.
    {f} wanted to go even faster and did not look at the road. Bump! There {f.he} sat, with tears in {f.his} eyes.
""")
RACE_CHOICE = beat("""
    {h} could see {goal}. Nobody was in front of {h.him} now! But {h.he} stopped and turned around.
    now {h} could win! {h.He} took two more steps. Then {h.he} ran back to {f}.
    "I can win!" thought {h}. But how could {h.he} be happy about that? {h.He} went back to help.
    {h} did not think long. {h.He} forgot all about the race and [ran|hurried] to {f}.
    just a little more, and {h} would be the winner. But what is a winner without a friend? {h.He} turned back.
    {h} heard it and stopped so quickly that {h.he} almost fell too. {h.He} ran back.
    {goal} was so near! {h} looked at it once. Then {h.he} looked at {f}, and {h.he} knew what to do.
""")
RACE_HELP = beat("""
    "Are you hurt?" {h} asked. "[A little|Only a bit]," said {f}. {h} tied {h.his} scarf around the sore [leg|foot].
    "Give me your {f.hand}," said {h}. {f} looked up. "But you could win!" "I want to win with you," said {h}.
    {h} pulled {f.him} up. "Can you walk if you [hold on to|lean on] me?" {h.he} asked. {f} nodded.
    "Why did you stop?" asked {f}. "[Because you are my friend|A friend is better than a race]," said {h}, and helped
        {f.him} up.
    "Climb on my back," said {h}. {f} had to laugh. "You are too small for that!" But {h} could hold {f.him} up, and
        that was enough.
    {h} blew on the sore knee and wiped away the mud. "Better?" {h.he} asked. "Better," said {f}, and took {h.his}
        {h.hand}.
    "Go on, you will lose," said {f}. "I do not care," said {h}. "Put your arm around me."
""")
RACE_END = beat("""
    side by side they walked to {goal}, and they touched it at the very same time. Everyone cheered!
    slowly, step by step, they came to {goal} together. {p} gave both of them a [prize|gold star|crown of flowers].
    so they crossed the line {h.hand} in {h.hand}. "We both won!" [:called] {f}.
    together they reached {goal}. "Who won?" asked {p}. "We did!" they both said.
    it took a long time to get to {goal}, but nobody minded. Both of them got a [big hug|gold star|cup of cold juice].
    they were the last to reach {goal}, and they were the happiest. {p} hugged them both.
    "One, two, three!" they said, and they touched {goal} with both {h.hand}s, all four at the same time.
    {p} did not know who had won, so {p.he} gave them [one prize|one big pie] for two.
""")
GOALS = (
    "the old oak tree",
    "the big rock",
    "the red gate",
    "the wooden bridge",
    "the top of the hill",
    "the old well",
    "the windmill",
    "the tall pine tree",
    "the end of the meadow",
    "the garden wall",
)


def race(tale: Tale) -> None:
    """Two friends race; one falls, and the other gives up winning to help."""
    tale.cast_hero()
    tale.cast_friend()
    tale.cast_elder()
    tale.put("goal", tale.chance.pick(GOALS))
    open_story(tale, RACE_HOOKS)
    tale.say(RACE_START)
    tale.maybe(0.35, RACE_MIDDLE)
    tale.paragraph()
    tale.say(RACE_FALL, RACE_CHOICE)
    tale.say(RACE_HELP, RACE_END)
    close_story(tale, FRIENDS)


# A borrowed thing

BORROW_HOOKS = beat("""
    [:day], {h} asked {f}, "May I borrow your {thing}?"
    {f} had a [lovely|fine] {thing}. [:day], {h} asked to borrow it.
    [:day], {f} let {h} borrow {f.his} {thing}. "Please take care of it," {f.he} said.
    [:sunny], {h} wanted to {use}, but {h.he} had no {thing}. So {h.he} went to {f} and borrowed one.
    {h} needed a {thing} to {use}. [:day], {h.he} borrowed one from {f}.
    [:day], {h} wanted to {use}. But for that {h.he} needed a {thing}, and only {f} had one. So {h.he} borrowed it.
    [:sunny], {h} borrowed a {thing} from {f}. {h} had always wanted to {use}.
    {h} liked the {thing} that {f} had. [:day], {h.he} took heart and asked if {h.he} could borrow it.
""")
BORROW_PROMISE = beat("""
    "I will bring it back [tomorrow|tonight|before dinner]," {h} promised, and ran off to {use}.
    "I will be careful," said {h}, and off {h.he} went to {use}.
    "You can trust me," said {h}. {h.He} was so glad that {h.he} could {use} at last.
    {h} said thank you three times and went to {use}.
    "I will take good care of it," said {h}. Then {h.he} went out to {use}.
    "Nothing will happen to it," {h} promised. {h.He} went off to {use} and felt as proud as a king.
    "I will guard it like a treasure," said {h}. Then {h.he} ran out to {use}.
    {f} trusted {h.him}, and {h} could {use} as long as {h.he} wanted.
""")
BORROW_ACCIDENT = beat("""
    it was [:fun], but then {h} tripped over a [stone|root], and {break}.
    all went well until a [big dog|goat] ran by and bumped into {h.him}. {h} fell down, and {break}.
    {h} forgot to be careful. The {thing.noun} slipped from {h.his} {h.hand}s, and {break}.
    "Look at me!" {h} [:called]. Just then {h.he} slipped, and {break}. Oh dear!
    {h} was in such a hurry that {h.he} bumped into the [gate|fence], and {break}.
    everything was fine until {h} tried to do it with {h.his} eyes closed. Bump! And {break}.
    {h} danced around with it and did not see the [step|log|bucket]. There was a bad sound, and {break}.
    a bee came too close. {h} jumped to one side, and {break}. Oh no!
""")
BORROW_TEMPT = beat("""
    {h} felt [:sad]. "Maybe {f} will not see it," {h.he} thought. But {h.he} knew that was not right.
    "I could [hide it|say it was the wind]," thought {h}. {h.His} tummy felt [heavy|strange] when {h.he} thought that.
    {h} sat down and cried. What would {f} say? {h.He} wanted to run away and hide.
    for a moment {h} wanted to put it back and say nothing. But {h.his} heart said no.
    {h} hid the {thing.noun} under {h.his} bed. But all through dinner {h.he} could not eat a bite.
    "I could say that it was like that before," {h} thought. But {h.his} ears turned red at the very thought.
    {h} pushed the {thing.noun} under a bush and went away. After ten steps {h.he} went back.
    all the way home {h} looked for a good excuse. There was none.
""")
BORROW_ADVICE = beat("""
    {h} went to {p} and told {p.him} what had happened. "Let us see if we can mend it," said {p}. "And then you must
        tell {f}."
    "You look sad," said {p}. So {h} told {p.him}. "[Tell the truth|Tell {f}]," said {p}, "and try to make it good
        again."
    {p} found {h} with the {thing.noun}. "[Accidents happen|Things can break]," {p.he} said, "but the truth must be
        told."
    in the end {h} showed it to {p}. "It was brave to tell me," said {p}. "Now be brave one more time, and tell {f}."
    "What have you got there?" asked {p}. It all came out at once, with many tears. {p} listened. "First we
        mend it," {p.he} said, "and then you go to {f}."
    "What would you want {f} to do," asked {p}, "if it were yours?" {h} knew. "Tell me," {h.he} said, "and help to mend
        it."
    {p} wiped {h.name}'s tears away. "A broken thing is not the end of the world," {p.he} said. "A lie is worse. Let us
        mend it, and then tell {f}."
""")
BORROW_MEND = beat("""
    together they {mend}. It took all [evening|afternoon], but it was almost as good as new.
    {h} worked hard. With {p.name}'s help {h.he} {mend}.
    step by step, {h} {mend}, and {p} [held the lamp|showed {h.him} how].
    {p} fetched {p.his} box of tools and threads, and they {mend}.
    so {h} sat down at the table with {p}, and they {mend}.
    {h} and {p} {mend}. "Not bad," said {p}. "Not bad at all."
    it was not easy, but in the end they {mend}.
    {p} knew how to do it, and {h} had good eyes. Together they {mend}.
""")
BORROW_TELL = beat("""
    then {h} took it back. "It broke, and it was my fault," {h.he} told {f}. "I am sorry. I tried to mend it."
    {h} knocked at {f.name}'s door. "I [was not careful|broke your {thing.noun}]," {h.he} said. "I am so sorry."
    "I have to tell you something," {h} said to {f}, and {h.he} told {f.him} everything, from start to end.
    with a red face, {h} gave the {thing} back. "I broke it, but I mended it," {h.he} said. "Are you angry?"
    {h} walked to {f.name}'s house, more slowly than ever before. "I had an accident with your {thing.noun}," {h.he}
        said, "and I am sorry."
    "Here is your {thing.noun}," said {h} to {f}. "It is not as it was. I was too wild, and then I mended it."
    {h} knocked at {f.name}'s door. {f} opened it. "It broke, it was me, and I am so sorry!" {h.he} said in one breath.
""")
BORROW_FORGIVE = beat("""
    {f} looked at it closely. "[You can hardly see it|It looks even better now]," {f.he} said. "Thank you for telling
        me."
    {f} was quiet for a moment. Then {f.he} smiled. "You told me the truth, so you can borrow it again any time."
    "It is only a {thing.noun}," said {f}. "You are my friend." And {f.he} gave {h} a hug.
    "I broke it once myself," {f} whispered, and they both [began to laugh|laughed].
    {f} shook {f.his} head. "I am not angry," {f.he} said. "[Anyone can trip|It can happen to all of us]."
    "You mended it yourself?" asked {f}. "That is more than I could do." And {f.he} was not angry at all.
    "I like it even more now," said {f}. "It has a story." Then they went out to play.
    {f} looked a little sad, but only for a moment. "Thank you for not hiding it," {f.he} said.
""")


class Loan(NamedTuple):
    """A thing to borrow: what it is for, how it breaks and how it is mended."""

    looks: tuple[str, ...]
    noun: str
    use: str
    breaks: str
    mended: str


LOANS = (
    Loan(("green", "red", "striped"), "umbrella", "walk in the rain", "the umbrella tore", "sewed the umbrella"),
    Loan(("red", "blue", "yellow"), "kite", "play in the wind", "the kite tore", "put a patch on the kite"),
    Loan(("red", "blue", "wooden"), "wagon", "carry stones", "a wheel came off", "put the wheel back on"),
    Loan(
        ("wooden", "brown", "little"),
        "basket",
        "pick berries",
        "the handle broke off",
        "tied the handle on with string",
    ),
    Loan(("silver", "wooden", "little"), "flute", "play a song", "the flute cracked", "closed the crack with glue"),
    Loan(("blue", "wooden", "white"), "sled", "ride down the hill", "one board of it broke", "put in a new board"),
    Loan(("red", "green", "warm"), "coat", "play in the woods", "a button came off", "sewed the button on again"),
    Loan(("brown", "long", "wooden"), "fishing rod", "go fishing", "the rod broke in two", "tied the rod together"),
    Loan(("red", "thick", "little"), "book", "read under a tree", "two pages tore", "put the pages back with glue"),
)


def borrowed(tale: Tale) -> None:
    """The hero breaks a borrowed thing, is tempted to hide it, tells the truth and mends it."""
    tale.cast_hero(animals=0.3)
    tale.cast_friend()
    tale.cast_elder()
    loan = tale.chance.pick(LOANS)
    tale.put("thing", f"{tale.chance.pick(loan.looks)} {loan.noun}", noun=loan.noun)
    tale.put("use", loan.use)
    tale.put("break", loan.breaks)
    tale.put("mend", loan.mended)
    open_story(tale, BORROW_HOOKS)
    tale.say(BORROW_PROMISE)
    tale.say(BORROW_ACCIDENT)
    tale.paragraph()
    tale.maybe(0.15, BORROW_TEMPT)
    tale.say(BORROW_ADVICE)
    tale.say(BORROW_MEND, BORROW_TELL)
    tale.say(BORROW_FORGIVE)
    if tale.chance.maybe(0.25):
        close_story(tale, HONEST)


# A new face

NEW_HOOKS = beat("""
    [:day], {h} saw a {newkind} on the [steps|fence|wall] of the house next door. {f.He} was new here and sat all alone.
    [:day], a new family moved into the house next door. {h} saw a {newkind} with [sad|shy|big] eyes look out of the
        window.
    [:day], {h} looked over the [fence|wall] and saw somebody new. It was a {newkind} with a [blue|red|yellow] scarf.
    [:day], when {h} came out to play, a {newkind} was sitting under the big tree. {h} had never seen {f.him} before.
    [:sunny], {h} was on the way to the pond when {h.he} met a {newkind} who [had just moved here|was new and had no
        friends yet].
    [:day], a cart full of boxes stopped next door. On top of the boxes sat a {newkind}, and {h} wanted to know who it
        was.
    [:day], {h} heard that somebody new had come to live next door. It was a {newkind}, and {f.he} did not know anyone.
    [:sunny], {h} saw a {newkind} by the pond. {f.He} was new here and threw little stones into the water, all alone.
""")
NEW_TRY = beat("""
    "Hello!" said {h}. The {newnoun} [looked down|hid {f.his} face] and did not say a word.
    "Do you want to play?" asked {h}. The {newnoun} shook {f.his} head and looked at {f.his} feet.
    {h} waved. The {newnoun} did not wave back. {f.He} looked away quickly.
    "My name is {h.name}. What is yours?" asked {h}. But the {newnoun} only [turned red|looked at the ground].
    {h} smiled at {f.him}. The {newnoun} jumped up and ran [inside|behind a tree].
    "Welcome!" said {h}. "Do you like it here?" The {newnoun} [shrugged|looked at the clouds] and said nothing.
    {h} told {f.him} a funny story. The {newnoun} did not laugh. {f.He} only hid behind {f.his} scarf.
    "Catch!" called {h}, and threw a ball. The {newnoun} let it roll by.
""")
NEW_ASK = beat("""
    "{f.He} does not like me," {h} said to {p}. "Maybe {f.he} is just shy," said {p}. "[Give it time|Try once more]."
    "Why will {f.he} not talk to me?" {h} asked {p}. "[Everything is new here|A new place can be scary]," said {p}. "Be
        patient."
    {h} asked {p} what to do. "Shy friends are like little birds," said {p}. "Sit still, and they will come."
    "Were you ever new somewhere?" {h} asked {p}. "Oh yes," said {p}. "And I [was glad of every smile|wished for one
        friend]."
    at home, {h} told {p} about it. "[Show {f.him} something you like|Bring something to share]," said {p}.
    "What did I do wrong?" {h} asked {p}. "Nothing," said {p}. "Some doors open slowly."
    {h} was a little cross. "I was so nice!" {h.he} told {p}. "Then be nice one more time," said {p}.
    "How do you make a friend?" {h} asked {p}. "With time," said {p}, "and with something nice to do."
""")
NEW_GIFT = beat("""
    the next day, {h} came back and sat down not far away. {h.He} began to {quiet}. {show}
    so {h} went back and did not ask anything. {h.He} just sat down to {quiet}. {show}
    [:next], {h} sat down close by, to {quiet}. {h.He} did not say a word. {show}
    [:next], {h} had a plan. {h.He} sat down on the grass to {quiet}, and waited. {show}
    {h} thought about it all night. The next day {h.he} went outside to {quiet}, where the {newnoun} could see {h.him}.
        {show}
    this time {h} did not talk at all. {h.He} only sat down to {quiet}. {show}
    the sun was out again the next day. {h} hummed and began to {quiet}. {show}
""")
NEW_OPEN = beat("""
    slowly, the {newnoun} came closer. "Can I [try|do it too]?" {f.he} whispered. "Of course!" said {h}.
    after a while, a small voice asked, "How do you do that?" {h} showed {f.him}.
    step by step, the {newnoun} came nearer, and at last {f.he} sat down too. "I [like that|want to try]," {f.he} said.
    the {newnoun} watched. Then {f.he} laughed, just a little. "That looks fun," {f.he} said. {h} moved over to make
        room.
    first there was a peek, then a step, then a smile. "May I help?" asked the {newnoun}.
    behind {h.him}, somebody took a step. Then another. "That is pretty," said a very small voice.
    {h} did not turn around. Soon there was a shadow next to {h.his}. "Will you show me how?" asked the {newnoun}.
    the {newnoun} came as close as a shy bird. "I can do that, too," {f.he} said. And {f.he} could!
""")
NEW_NAME = beat("""
    "I am {f.name}," said the {newnoun} [at last|then]. "I [miss|missed] my old home, but I like it here now."
    "What is your name?" asked {h}. "{f.name}," said the {newnoun}, and this time {f.he} smiled.
    "My name is {f.name}," the {newnoun} said. "I did not know what to say yesterday."
    and that is how {h} learned that {f.his} name was {f.name}, and that {f.he} [knew many jokes|could whistle like a
        bird].
    "You can call me {f.name}," said the {newnoun}. {f.He} had the nicest smile that {h} had ever seen.
    "I am {h.name}," {h.he} said. "And I am {f.name}," said the {newnoun}. That was all, and it was a lot.
    the {newnoun} took a deep breath. "I am {f.name}," {f.he} said. "I was only a bit afraid."
""")
NEW_PLAY = beat("""
    {h} showed {f.name} [the pond|the best climbing tree|the secret path] and all the good places to hide.
    {f.name} [laughed|talked] and {h} laughed too, and they played until the sun went down.
    they played tag and [hide and seek|leap frog], and {f.name} was not shy at all anymore.
    "Will you come back tomorrow?" asked {f.name}. "[Yes|Of course], and every day!" said {h}.
    {h} and {f.name} ran up the hill and rolled down again, [five|ten] times, until they were [tired|out of breath].
    now there were always two of them by the pond, and one of them was {f.name}.
    "I thought I would never have a friend here," said {f.name}. "And I thought you did not like me," said {h}. They
        both laughed.
    in the evening {f.name} waved from {f.his} window, and {h} waved back from {h.his} own.
""")
QUIET_GAMES = (
    ("blow bubbles", "Round and shiny, they flew over the fence."),
    ("draw a big sun", "The yellow sun got a happy face."),
    ("make a chain of daisies", "It grew longer and longer."),
    ("fold paper birds", "One of them flew over the grass."),
    ("build a tower of stones", "Stone by stone, it grew."),
    ("play a song on a flute", "The soft notes danced in the air."),
    ("make little boats of bark", "Each boat had a leaf for a sail."),
    ("paint a stone", "It soon looked like a red bug with black dots."),
)


def new_friend(tale: Tale) -> None:
    """Somebody new and shy moves in next door; the hero finds a patient way to make friends."""
    tale.cast_hero()
    friend = tale.cast_friend()
    tale.cast_elder()
    noun = friend.look.split()[-1]
    tale.put("newkind", f"{tale.chance.pick(('shy', 'little', 'small', 'quiet'))} {noun}")
    tale.put("newnoun", noun)
    quiet, show = tale.chance.pick(QUIET_GAMES)
    tale.put("quiet", quiet)
    tale.put("show", show)
    open_story(tale, NEW_HOOKS)
    tale.say(NEW_TRY)
    tale.maybe(0.6, NEW_ASK)
    tale.paragraph()
    tale.say(NEW_GIFT, NEW_OPEN)
    tale.say(NEW_NAME)
    friend.met = True
    if tale.chance.maybe(0.5):
        tale.say(NEW_PLAY)
    else:
        close_story(tale, FRIENDS)
