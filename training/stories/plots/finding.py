"""Things, animals and children that are lost and found."""

from stories import words
from stories.common import COZY, KIND, close_story, open_story
from stories.template import beat
from stories.words import Place
from stories.world import Tale

# A lost toy

TOY_HOOKS = beat("""
    [:sunny], {h} took {h.his} {toy} to {place}.
    {h} had a {toy}. [It went everywhere with {h.him}|{h.He} took it everywhere], and [:day] {h.he} took it to {place}.
    {h} loved {h.his} {toy} more than anything. [:sunny], {h.he} [carried it|ran with it] to {place}.
    [:sunny], {h} went to play {place.at} with {h.his} new {toy}.
    {p} had given {h} a {toy}, and [:sunny] {h.he} took it to {place}.
    [:day], {h} and {h.his} {toy} went out to play {place.at}.
    [:sunny], {h} ran to {place}. Of course, {h.he} had {h.his} {toy} with {h.him}.
    nobody had a finer {toy} than {h}. [:sunny], {h.he} took it to {place} to show it to the [birds|ants|clouds].
    [:day], {h} went to {place} to look for adventures, and {h.his} {toy} came along.
    wherever {h} went, {h.his} {toy} went too. So, [:sunny], both of them went to {place}.
    [:sunny], {h} [skipped|marched] to {place}. Under {h.his} arm {h.he} had {h.his} {toy}.
""")
TOY_LEFT = beat("""
    {h} put the {toy.noun} down {spot} and {lure}. Then it was time to go, and {h.he} ran home without it.
    [:soon] {h} put the {toy.noun} down {spot}, and {h.he} {lure}. At lunch time {h.he} went home and forgot it.
    "Wait here," {h} told the {toy.noun}, and put it down {spot}. Then {h.he} {lure}.
        It was such fun that {h.he} went home and did not think of the {toy.noun} at all.
    To have both {h.hand}s free, {h.he} left the {toy.noun} {spot}. Then {h.he} {lure} until it was time for lunch.
    first {h} played with it for a while. Then {h.he} left it {spot} and {lure}.
        When {p} called, {h.he} ran straight home.
    {h} [laid|set] the {toy.noun} {spot}, just for a moment, and {lure}. Then big drops of rain fell, and {h.he} ran
        home.
    but there was so much to do! {h} put the {toy.noun} {spot} and {lure}. When it was time for lunch, {h.he} ran off
        without it.
    "You can rest a little," {h} told the {toy.noun}, and left it {spot}. Then {h.he} {lure} until {p} called
        {h.him} home.
    {h} looked for a good place for the {toy.noun} and put it {spot}. {h.He} {lure}, one thing led to another, and the
        {toy.noun} was forgotten.
""")
TOY_MISSED = beat("""
    at home, {h} looked around. "Where is my {toy.noun}?" {h.he} [asked|cried].
    after lunch, {h} wanted to play, but the {toy} was gone.
    "Oh no!" said {h} a little later. "My {toy} is [gone|lost]!"
    that afternoon, {h.his} {toy.noun} was nowhere to be seen. {h} was [:sad].
    {h} reached for {h.his} {toy.noun}, but it was not there. {h.His} eyes [filled with tears|grew wet].
    "[Have you seen|Do you know where I put] my {toy}?" {h} asked {p}. {p.He} had not seen it.
    at bath time, {h} looked for the {toy}. It was not on the shelf, and it was not on the chair.
    "{p.name}, my {toy} is not here!" [:called] {h}, and {h.his} voice shook.
    {h} had just sat down to rest when {h.he} jumped up again. Where was the {toy}?
    in the afternoon, {h} put out {h.his} {h.hand} for the {toy.noun}. There was only air.
""")
TOY_WRONG = beat("""
    {h} looked under the bed and [behind the door|in the big box|under the table]. It was not there.
    {h} looked in every room. {h.He} found [a sock|two buttons|an old shoe|a spoon], but no {toy.noun}.
    was it under the [bed|table|blanket]? No. Was it behind the [door|chair|curtain]? No, it was not there.
    {h} looked [high and low|up and down], but {h.he} only found [some dust|one old sock|a small coin].
    first {h} looked in the kitchen, then under the [stairs|bed]. There was no {toy.noun} anywhere.
    "Maybe it is under my pillow," {h} thought. But [it was not|only a book was there].
    {h} turned the whole room upside down. {h.He} found [a sock|a nut|a spoon|a button] that had been lost for a year,
        but
        no {toy.noun}.
    "Are you in here?" {h} asked the [cupboard|big box|laundry basket]. Nobody answered.
    {h} crawled under the [bed|table] and came out with dust on {h.his} nose. No {toy.noun} there!
    {h} even looked in the [soup pot|tea pot|flour jar]. You never know!
""")
TOY_HELP = beat("""
    "Where did you see it last?" asked {p}. {h} thought and thought. "{place.At}!" {h.he} said.
    {p} sat down beside {h.him}. "Close your eyes and think," {p.he} said. {h} did. "I put it down {spot}!" {h.he}
        cried.
    "Let us [think|walk] back through the day," said {p} [:kindly]. "Where did you go?" "To {place}!" said {h}.
    "Things do not run away," said {p}. "What did you do this morning?" {h} [jumped up|remembered]. "I was {place.at}!"
    "Do not cry," said {p}. "We will look for it together. Where did you play?" "{place.At}," said {h} [softly|at once].
    {p} [took {h.his} {h.hand}|gave {h.him} a hug]. "Did you have it {place.at}?" {p.he} asked. "Yes, I did!" said {h}.
    {p} knelt down next to {h}. "Lost things wait to be found," {p.he} said. "Where did you have it last?"
        "{place.At}," said {h}.
    "Let your feet remember," said {p}. {h.name}'s feet walked out of the door and straight to the road. "To {place}!"
        {h.he} said.
    "Hmm," said {p}. "There is dust on your shoes. Where have you been?" "{place.At}!" said {h}, and
        {h.his} eyes lit up.
    {p} made a cup of tea and thought about it. "Did you play {place.at} today?" {p.he} asked. {h} nodded and grabbed
        {h.his} hat.
""")
TOY_FOUND = beat("""
    they [went back|ran back|hurried back] to {place}, and there, {spot}, was the {toy}!
    so they walked back to {place}. {h} looked {spot}. "Here it is!" {h.he} [:called].
    [hand in hand|together] they went back. And there was something {spot}. It was the {toy}, [safe and sound|right
        where {h} had left it]!
    back {place.at}, they looked and looked. At last {h} looked {spot}, and the {toy.noun} was still there.
    off they went to {place}. The {toy} was {spot}, [waiting for {h.him}|just as before]. {h} hugged it tight.
    they were [back|there] in no time. {h} ran ahead and looked {spot}. "I found it, I found it!" {h.he} sang.
    it was quiet {place.at}. And {spot}, all alone, was the {toy}. {h} [kissed|hugged] it ten times.
    {place} looked bigger than before, but {h} knew where to look. There it was, {spot}! Not a thing had happened to it.
    they held {h.hand}s and went to {place}. "{spot}," {h} said, "that is where I put it." And that is where it was.
""")
TOY_MOVED = beat("""
    they ran to {place}, but {spot} there was nothing. Then {h} saw tiny marks on the ground. They led to a [bush|hole],
        and there sat a puppy with the {toy.noun}!
    they went back to {place} and looked {spot}. It was empty! "Woof!" said a little dog.
        It had carried the {toy.noun} away, and now it brought it back.
    back {place.at}, {h} looked {spot}. No {toy.noun}! But not far away, a [gray|brown] kitten was asleep on top of it.
    they hurried back to {place}. The {toy.noun} was not {spot}. The wind had rolled it into a bush,
        and {h} pulled it out [with a shout|with a laugh].
    back {place.at} they met {n}. "[Is this yours|Are you looking for this]?" asked {n}.
        "I found it {spot}." It was the {toy}!
    back {place.at} they looked {spot}. Nothing! "Listen," said {p}. Something was [humming|giggling]. It was {f},
        who had found the {toy.noun} and kept it safe.
    back {place.at}, there was only [a leaf|a feather] {spot}. But a crow sat on a branch above. It had the {toy.noun},
        and when {p}
        clapped, it let it fall.
    they ran back and looked {spot}, but it was gone. Then they saw {f} on the road. "Look what I found {spot}!" {f.he}
        called. It
        was the {toy}.
""")
TOY_JOY = beat("""
    "I will [take better care of you|not forget you again|hold you tight]," {h} [told|whispered to] the {toy.noun}.
    "[Thank you for helping me|Thank you for looking with me]," said {h}, and gave {p} a [big|warm|long] hug.
    {h} [danced|jumped|hopped] up and down. {p} laughed too.
    {h} [:smiled] and held the {toy.noun} close all the way home.
    "Next time I will think before I [run off|run home]," {h} said. {p} [smiled|nodded].
    from then on, {h} had a place for the {toy.noun}, [on the shelf|by the door|next to the bed], and put it there
        every night.
    "It was waiting for me," said {h}. "Of course," said {p}. "It knew that you would come."
    {h} told the {toy.noun} all about the search, and it listened very well.
    {p} carried the {toy.noun}, {h} carried a stick, and they sang all the way home.
    "I thought I had lost you forever," {h} told it, and {h.he} did not put it down for the rest of the day.
""")


def lost_toy(tale: Tale) -> None:
    """The hero leaves a toy somewhere, looks for it in the wrong places and finds it where it was left, or near."""
    chance = tale.chance
    tale.cast_hero()
    tale.cast_elder()
    tale.cast_neighbor()
    tale.cast_friend()
    tale.put_thing("toy", chance.pick(words.TOYS))
    place: Place = chance.pick(words.PLACES)
    tale.put_place("place", place)
    tale.put("lure", chance.pick(place.lures))
    open_story(tale, TOY_HOOKS)
    tale.say(TOY_LEFT)
    tale.paragraph()
    tale.say(TOY_MISSED)
    tale.maybe(0.6, TOY_WRONG)
    tale.say(TOY_HELP)
    tale.say(TOY_MOVED if chance.maybe(0.35) else TOY_FOUND)
    tale.say(TOY_JOY)
    if chance.maybe(0.4):
        close_story(tale, COZY)


# A lost animal

STRAY_HOOKS = beat("""
    [:day], {h} heard a [small|tiny|sad] sound {where}. It was a lost {pet}.
    [:day], {h} found a little {pet} {where}. It was all alone.
    [:day], on the way home, {h} saw something move {where}. Two [round|dark|sad] eyes looked up. It was a {pet}!
    [:day], as {h} was [walking|skipping] along, a tiny {pet} [ran up|came up] to {h.him}. It [looked lost|was lost].
    "[Peep|Squeak|Hello]?" said something {where}. {h} bent down and saw a small {pet}, all alone.
    it was raining when {h} found a wet little {pet} {where}.
    [:day], {h} was [picking flowers|looking for stones|playing ball] when {h.he} saw a lost {pet} {where}.
    [:day], {h} felt something soft on {h.his} leg. It was a {pet}, and it looked lost.
    [:day], {h} was on the way home from the mill. And who was sitting {where}? A little {pet}!
    [:day], {h} saw a {pet} {where}. It looked to the left and to the right and did not know where to go.
""")
STRAY_CARE = beat("""
    "[Do not be afraid|You poor little thing|Hello, little one]," {h} said softly. {h.He} held out {h.his} {h.hand},
        and the {pet} came closer.
    the {pet} was [cold|shaking|hungry]. {h} [wrapped it in {h.his} scarf|put it under {h.his} coat|held it close] to
        keep it warm.
    {h} gave it [some water|a little water and a soft bed of grass], and the {pet} drank and drank.
    "Where is your [mother|home]?" asked {h}. The {pet} only looked at {h.him} with [big|round|sad] eyes.
    "I will help you find your [family|home]," {h} [promised|said]. The {pet} [seemed to understand|moved closer].
    {h} sat down in the grass and waited until the {pet} [was not afraid|came to {h.him}]. Then {h.he} picked it up.
    {h} spoke to it in a very soft voice. Bit by bit, the {pet} stopped shaking.
    {h} sang a little song. The {pet} listened, and then it lay down on {h.his} foot.
    "You are far from home," said {h}. {h.He} lifted it up and felt its tiny heart beat.
    "Are you alone?" asked {h}. The {pet} put its head on {h.his} knee, and that was an answer.
""")
STRAY_WISH = beat("""
    {h} took the {pet} home. "Can I keep it?" {h.he} asked. "[Somebody|Someone] must miss it," said {p}. "Let us find
        out who."
    "Look, {p.name}!" {h} called. "[Someone is missing this {pet}|It must be so lonely]," said {p}. "We must take it
        home."
    {h} wanted to keep it, but {p} said [:kindly], "Think how [sad|worried] its mother must be."
    {h} showed the {pet} to {p}. "It has a home somewhere," said {p}. "Shall we look for it together?"
    "{p.name}, it is lost," said {h}. {p} put on {p.his} coat at once. "Then we will help it," {p.he} said.
    "May it sleep in my bed?" {h} asked {p}. "Tonight its mother would like to have it in hers," said {p}. "Come, we
        will find her."
    {p} saw the {pet} in {h.name}'s arms. "Oh, how sweet," said {p}. "But some poor mother is looking for it right now."
    "I will call it Fluff," {h} told {p}, "and it will be mine." {p} smiled a little. "I think it is somebody's
        already."
    "It likes me," {h} told {p}. "I can see that," said {p}. "But it likes its mother more."
""")
STRAY_WRONG = beat("""
    first they asked {n}. "It is not mine," said {n}, "but [ask at the farm|look by the old barn|try down the road]."
    they [knocked at|went to] the first house, but nobody there had lost a {pet}.
    they walked up the hill and [called and called|looked around], but nobody came.
    "Is this your {pet}?" {h} asked {n}. "No," {n.he} said, "but I [heard a mother calling|saw one like it] by the
        barn."
    at the pond they saw only [frogs|ducks|two fish]. "Do not give up," said {p}.
    they looked along the road and behind the [mill|school], but they found no one. {h} did not give up.
    "Did you lose a {pet}?" {h} asked {n}. "Not I," said {n}. "But try the barn behind the hill."
    they asked the [baker|shoe maker|miller], and they asked {n}. Nobody had lost a {pet}.
    they asked at one door, then at the next. Everyone liked the {pet}, but no one knew it.
    the {pet} looked hopeful at every corner, but there was no mother at the [well|mill|bridge], and none by the river.
""")
STRAY_HOME = beat("""
    then they came to the [old|red|big] barn. {call} The mother was there! The {pet} [ran|hurried] to her side.
    at last, behind the barn, they heard a sound. {call} It was the mother. The {pet} jumped for joy.
    near the old barn the {pet} [began to wiggle|lifted its head]. {call} Its mother came running, and {h} [put it
        down|let it go].
    they went on to the farm. There, by the barn, a mother was looking for her little one. {call} "There she is!" {h}
        [:called].
    [:soon] they came to a barn. The {pet} gave a happy cry, and from inside came the answer. {call} Its mother was so
        glad!
    behind the hill was a barn with an open door. {call} The {pet} knew that voice! It ran so fast that it rolled over
        twice.
    they had almost reached the barn when a sound came from it. {call} That was the mother! What a happy meeting it was.
    in front of the barn something big came running. {call} It was the mother, and she [licked|nudged] her little one
        from head to foot.
""")
STRAY_THANKS = beat("""
    {h} was a little sad to say goodbye, but [:happy] too. "[Be good|Take care], little {pet}," {h.he} whispered.
    "You can [come and see it|visit it] any time," said the farmer who lived there. {h} [:smiled].
    the mother [rubbed|pushed] her nose against {h.name}'s {h.hand}, as if to say thank you.
    "Thank you for bringing it home," said the farmer who lived there, and gave {h} a [basket of eggs|jar of honey|bag
        of apples].
    the {pet} looked back once and seemed to smile. {h} waved until it was [asleep|out of sight].
    "Goodbye, little one," said {h}. "[I will visit you|I will come back and play with you] [soon|on Sunday]."
    {h} watched the two of them for a long time. "Now it is where it should be," {h.he} said.
    "Will you miss it?" asked {p}. "A bit," said {h}. "But look how glad they are!"
    the {pet} was already asleep next to its mother. "Sleep well," whispered {h}.
    "You did that very well," said {p}, and {h} grew at least an inch.
""")
PETS = (
    ("puppy", "woof, woof!"),
    ("kitten", "meow!"),
    ("duckling", "quack, quack!"),
    ("lamb", "baa, baa!"),
    ("chick", "cluck, cluck!"),
    ("baby goat", "meh, meh!"),
    ("piglet", "oink, oink!"),
)
FOUND_SPOTS = (
    "under a bush",
    "by the road",
    "behind the fence",
    "in the tall grass",
    "near the bridge",
    "beside a wall",
)


def stray(tale: Tale) -> None:
    """The hero finds a lost animal and brings it back to its mother."""
    chance = tale.chance
    tale.cast_hero(animals=0)
    tale.cast_elder()
    tale.cast_neighbor()
    pet, call = chance.pick(PETS)
    tale.put("pet", pet)
    tale.put("call", f'"{call.capitalize()}"')
    tale.put("where", chance.pick(FOUND_SPOTS))
    open_story(tale, STRAY_HOOKS)
    tale.say(STRAY_CARE)
    tale.paragraph()
    tale.say(STRAY_WISH, STRAY_WRONG)
    tale.say(STRAY_HOME)
    tale.say(STRAY_THANKS)
    close_story(tale, KIND, COZY)


# Lost at the market

MARKET_HOOKS = beat("""
    [:day], {h} went to the market with {p}.
    it was market day, and {h} [was allowed to come along|could go] with {p}.
    [:day], {p} took {h} to the big market [to buy some {buy}|for some {buy}].
    [:day], {h} [helped|went with] {p} to buy {buy} at the market.
    it was a busy day at the market, and {h} was there with {p} to buy {buy}.
    [:day], {h} and {p} went to the market with a big basket. They needed {buy}.
    [:day], {h} was at the market with {p}. There were so many people, and all of them wanted {buy}!
    [:sunny], {h} put on {h.his} good shoes, because {p} wanted to take {h.him} to the market.
""")
MARKET_LURE = beat("""
    there was so much to see! {h} stopped to look at {stall}, and when {h.he} looked up, {p} was gone.
    {h} saw {stall} and let go of {p.name}'s {h.hand}, just for a moment. Then {h.he} turned around. Where was {p}?
    everything smelled so good and looked so bright. {h} ran to see {stall}. When {h.he} wanted to show {p}, {h.he} was
        alone.
    {h} had never seen so many [people|things]. {h.He} stood and looked at {stall} for a long time. "Look, {p.name}!"
        {h.he} said.
        But {p} was not there.
    a [man|woman] was showing {stall}. {h} had to stop and look. [:soon] {h.he} could not see {p} anywhere.
    on a corner there was {stall}. {h} wanted to take just one look. It turned into three looks, and then {p} was
        nowhere to be seen.
    while {p} was paying for the {buy}, {h} went to look at {stall}. On the way back, all the stalls looked the same.
        Where was {p}?
    "Oh, look!" said {h} and pointed to {stall}. Nobody answered. {p} was gone!
""")
MARKET_FEAR = beat("""
    "{p.name}!" {h} called. But it was so loud that nobody heard.
    {h} ran to the left, and then to the right, but {h.he} saw only [strange faces|coats and bags].
    {h.His} heart [beat fast|jumped]. {h.He} saw a [green|long|gray] coat and ran after it, but it was not {p}.
    {h} felt very small. {h.His} lip began to shake.
    "I am lost," {h} thought, and a [tear|big tear] ran down {h.his} [cheek|nose].
    so many legs, so many bags, but no {p.name}! {h} swallowed hard.
    "{p.name}? {p.name}!" The market was as loud as the sea, and {h.name}'s voice was so small.
    everything that had been so pretty was now just loud and big.
    {h} looked under a table and behind a cart. {p} was not there, of course.
""")
MARKET_PLAN = beat("""
    then {h} remembered what {p} always said: "If you are lost, [stay where you are|stand still and ask for help]."
    "[Do not run|Stay in one place]," {h} told {h.himself}. That is what {p} had taught {h.him}.
    {h} took a deep breath. "If you are lost, stay in one place and [I will find you|ask for help]," {p} had told
        {h.him}.
    {h} thought of {p.name}'s words: "Stay [still|where you are], and I will come."
    what had {p} said? "When you are lost, stand still like a tree. I will find you." {h.He} stood like a tree and
        looked around.
    {h} wiped {h.his} nose and thought. {p} had said it many times: "Do not run around. Ask somebody who sells
        something."
    "Think, {h.name}, think," {h.he} told {h.himself}. And {h.he} knew again what {p} had said: "Ask for help, and
        wait."
""")
MARKET_HELP = beat("""
    then {h} went to the [old|kind] woman who sold {goods}. "I [lost|cannot find] my {p.kin}," {h.he} said.
        "Then sit here with me," said the woman, "and we will call together."
    the man who sold {goods} bent down. "Are you lost?" he asked. {h} nodded. "[Stay here|Wait with me]," he said.
        "Your {p.kin} will come back this way."
    a woman with a basket of {goods} saw {h.him}. "What is your name?" she asked. "{h.name}," {h.he} whispered.
        The woman lifted {h.him} up high so that everyone could see.
    {h} asked the man who sold {goods} for help. The man rang a big bell and [:called], "Who is looking for {h.name}?"
    at a stall with {goods} sat an old woman with a kind face. {h} told her everything. "We will wait together," she
        said.
        "And while we wait, you can help me sell {goods}."
    {h} went to the man with the {goods}. "Please, sir, I lost my {p.kin}," {h.he} said. He put {h} on a box.
        "Up here, you can see everyone," he said, "and everyone can see you."
    the woman who sold {goods} gave {h} a hug. "What does your {p.kin} look like?" she asked. "Like my {p.kin}," said
        {h}.
""")
MARKET_FOUND = beat("""
    "{h.name}!" cried a voice. It was {p}! {p.He} [hugged|held] {h} [very tight|for a long time].
    [:soon] {p} came running between the stalls. "There you are!" {p.he} cried, and held {h} tight.
    it did not take long. {p} [pushed through the crowd|came around the corner], and {h} ran into {p.his} arms.
    and there was {p}, with {p.his} hat [in {p.his} {h.hand}|on crooked] and a [worried|red] face. How glad they both
        were!
    then {h} saw a hat that {h.he} knew, and under the hat was {p}! They ran to each other and almost fell over.
    "There is my {h.name}!" somebody called. {p} had found {h.him}, and everything was good again.
    and who came running with an open coat? {p}! {h} jumped right into {p.his} arms.
""")
MARKET_WISE = beat("""
    "You did just the right thing," said {p}. "You stayed and asked for help."
    "I am sorry I let go," said {h}. "[I am glad you waited|You were very clever to wait]," said {p}.
    they thanked the kind [helper|stranger] and bought some {goods}. Then {h} held on to {p.name}'s {h.hand} all the
        way home.
    "I was so worried," said {p}. "But you were [brave and clever|calm and clever]."
    {p} bought two [apples|sweet buns] and some {goods}, and they ate on the way home, {h.hand} in {h.hand}.
    "I did not run around," said {h}. "I stood still." "And that is why I found you," said {p}.
    "I will never let go of your {h.hand} again," said {h}. "Not even to eat?" asked {p}, and they laughed.
    {p} thanked everyone who had helped, and {h} got a big bag of {goods} to take home.
""")
STALLS = (
    "a puppet show",
    "a box of kittens",
    "a table full of toys",
    "a cage of singing birds",
    "some dancing puppets",
    "a tower of golden cakes",
    "a big glass bowl of fish",
    "a clown with a drum",
    "some colorful kites",
)
GOODS = ("apples", "flowers", "bread", "cheese", "honey", "pears", "cherries", "nuts", "plums")


def market(tale: Tale) -> None:
    """The hero is lost at the market, stays calm, asks for help and is found."""
    chance = tale.chance
    tale.cast_hero(animals=0)
    tale.cast_elder()
    goods, buy = chance.sample(GOODS, 2)
    tale.put("goods", goods)
    tale.put("buy", buy)
    tale.put("stall", chance.pick(STALLS))
    open_story(tale, MARKET_HOOKS)
    tale.say(MARKET_LURE)
    tale.paragraph()
    tale.maybe(0.7, MARKET_FEAR)
    tale.say(MARKET_PLAN, MARKET_HELP)
    tale.paragraph()
    tale.say(MARKET_FOUND, MARKET_WISE)
    if chance.maybe(0.35):
        close_story(tale, COZY)
