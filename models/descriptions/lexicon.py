"""Words that the rules of the parser know. Everything else is a noun at the end of a phrase, an attribute before it."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words(
    "a an the this that these those his her their its my your our some any each both another no one two three four "
    "several many few what which whose"
)
PRONOUNS = _words("he she they it who him them himself herself themselves there someone somebody everything something")
COPULAS = _words("is are was were be being been seems appears looks 's 're")
AUXILIARIES = _words(
    "has have had having does do did can could may might will would to not also very slightly quite "
    "really rather fairly so too just still currently apparently probably possibly completely mostly"
)
"""Words that belong to no phrase; "has" and its kind are relations where a phrase follows."""
POSSESSIVES = _words("has have had having")
CONJUNCTIONS = _words("and or & plus as well but while")
VERBS = _words(
    "wear wears wearing wore worn carry carries carrying carried hold holds holding held dress dressed clad sport "
    "sports sporting pull pulls pulling drag drags dragging push pushes pushing ride rides riding stand stands standing "
    "walk walks walking walked stroll strolls strolling stride strides striding run runs running sit sits sitting look "
    "looks looking face faces facing turn turns turned turning use uses using talk talks talking lean leans leaning "
    "cover covers covering covered match matches matching show shows showing feature features featuring tie tied hang "
    "hangs hanging hung roll rolled tuck tucked wrap wrapped put puts putting clutch clutches clutching grip grips "
    "gripping grasp grasps grasping bring brings bringing take takes taking slung swing swings swinging reach reaches "
    "reaching cross crosses crossing cross go goes going goes head heads move moves moving come comes coming paired "
    "styled pulled cut appears seen pictured photographed"
)
PREPOSITIONS = _words(
    "in on with without over under underneath beneath behind across around at by near from to towards toward through "
    "into onto of for along above below between beside besides against inside outside up down off after before"
)
LONG_RELATIONS = (
    ("in", "front", "of"),
    ("on", "top", "of"),
    ("in", "the", "direction", "of"),
    ("next", "to"),
    ("close", "to"),
    ("away", "from"),
    ("out", "of"),
    ("along", "with"),
    ("together", "with"),
    ("made", "of"),
    ("instead", "of"),
)
MEASURES = _words("pair piece set kind type sort style lot bit couple")
"""Followed by "of", they say nothing of their own: "a pair of jeans" is about jeans."""

COLOURS = _words(
    "black white grey gray greyish navy blue red scarlet crimson maroon burgundy wine pink rose orange yellow mustard "
    "golden gold green emerald olive purple violet plum lavender brown chocolate chestnut tan beige cream khaki sand "
    "ivory silver blonde blond brunette ginger auburn reddish teal turquoise cyan aqua magenta indigo peach coral "
    "charcoal bronze copper off-white light-coloured dark-coloured light-colored dark-colored colourful colorful "
    "multicolored multicoloured bluish greenish brownish yellowish whitish blackish"
)
ATTRIBUTES = COLOURS | _words(
    "light dark bright pale deep dull neon pastel solid plain jet pitch baby royal sky powder forest bottle grass "
    "striped stripy checked checkered chequered plaid floral patterned printed dotted polka camouflage graphic "
    "long short medium medium-length shoulder-length chin-length ankle-length knee-length mid-length cropped thin thick "
    "big small large little huge tiny wide narrow tight loose baggy fitted slim skinny straight heavy heavyset stocky "
    "chubby overweight slender tall old older elderly senior young younger middle-aged adult teenage male female asian "
    "leather denim cotton knit knitted woolly wool woolen fur furry fleece silk lace plastic metal rubber suede canvas "
    "quilted padded puffy puffer down zip-up zipped zipper button-up button-down hooded collared sleeveless "
    "short-sleeved long-sleeved short-sleeve long-sleeve half-sleeved sleeved rolled-up folded closed open high low "
    "high-heeled wide-brimmed brimmed peaked curly wavy bald shaved shaggy messy neat dyed bearded casual formal sporty "
    "athletic dressy warm cold new worn torn ripped faded shiny matching same different other left right front back "
    "upper lower bare balding busy empty nice beautiful pretty cute fair grown built broad visible"
)
PEOPLE = _words(
    "person people man men woman women lady ladies gentleman gentlemen guy guys fellow boy boys girl girls male males "
    "female females adult adults child children kid kids youngster teenager teen individual pedestrian student "
    "schoolboy schoolgirl figure human someone customer passerby officer worker"
)
NOUNS = PEOPLE | _words(
    "jacket coat shirt t-shirt tshirt tee top sweater jumper pullover hoodie sweatshirt blouse dress frock vest gilet "
    "cardigan blazer suit parka anorak windbreaker overcoat waistcoat uniform robe tunic polo pants trousers jeans "
    "denims slacks chinos leggings tights joggers sweatpants bottoms shorts skirt miniskirt shoes shoe footwear "
    "sneakers sneaker trainers boots boot sandals heels pumps loafers flip-flops slippers socks bag backpack rucksack "
    "knapsack handbag purse satchel suitcase luggage case tote phone cellphone smartphone cup coffee bottle water book "
    "folder notebook umbrella drink hat cap beanie glasses eyeglasses spectacles sunglasses shades scarf gloves belt "
    "tie necklace watch bracelet earrings mask hood collar sleeve sleeves zipper zip button buttons pocket strap straps "
    "logo print design pattern stripe stripes check checks dot dots hair ponytail bun braid beard moustache mustache "
    "fringe head face neck shoulder shoulders arm arms hand hands wrist leg legs knee knees foot feet waist chest back "
    "body skin bike bicycle scooter motorcycle cart trolley stroller car street road sidewalk fence wall stairs "
    "picture image photo photograph camera background clothes clothing outfit jewelry laptop paper papers bags"
)
