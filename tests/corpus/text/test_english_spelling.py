"""British and American medicine: what is one word spelled twice, and what must stay as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.text.english_spelling import american
from asr_llm.corpus.text.normalizers import normalize

# British, American.
PAIRS = """
anaemia anemia, anaemic anemic, anaemias anemias, leukaemia leukemia, leukaemic leukemic,
septicaemia septicemia, bacteraemia bacteremia, viraemia viremia, fungaemia fungemia,
parasitaemia parasitemia, uraemia uremia, uraemic uremic, toxaemia toxemia, azotaemia azotemia,
acidaemia acidemia, alkalaemia alkalemia, ischaemia ischemia, ischaemic ischemic,
hypoglycaemia hypoglycemia, hypoglycaemic hypoglycemic, hyperglycaemia hyperglycemia,
hyperglycaemic hyperglycemic, normoglycaemia normoglycemia, glycaemic glycemic,
dysglycaemia dysglycemia, hyponatraemia hyponatremia, hypernatraemia hypernatremia,
hypokalaemia hypokalemia, hyperkalaemia hyperkalemia, hyperkalaemic hyperkalemic,
hypocalcaemia hypocalcemia, hypercalcaemia hypercalcemia, hypomagnesaemia hypomagnesemia,
hypophosphataemia hypophosphatemia, hyperuricaemia hyperuricemia, hyperlipidaemia hyperlipidemia,
hypercholesterolaemia hypercholesterolemia, hypertriglyceridaemia hypertriglyceridemia,
hypoxaemia hypoxemia, hypoxaemic hypoxemic, hypercapnaemia hypercapnemia,
hypovolaemia hypovolemia, hypovolaemic hypovolemic, hypervolaemia hypervolemia,
euvolaemic euvolemic, normovolaemic normovolemic, polycythaemia polycythemia,
thalassaemia thalassemia, thrombocythaemia thrombocythemia, galactosaemia galactosemia,
hyperbilirubinaemia hyperbilirubinemia, hypoalbuminaemia hypoalbuminemia,
hyperprolactinaemia hyperprolactinemia, hyperinsulinaemia hyperinsulinemia,
cryoglobulinaemia cryoglobulinemia, agammaglobulinaemia agammaglobulinemia, tularaemia tularemia,
methaemoglobin methemoglobin, methaemoglobinaemia methemoglobinemia, ketonaemia ketonemia,
haemoglobin hemoglobin, oxyhaemoglobin oxyhemoglobin, carboxyhaemoglobin carboxyhemoglobin,
haemoglobinuria hemoglobinuria, haemoglobinopathy hemoglobinopathy, haemolysis hemolysis,
haemolytic hemolytic, haemolysed hemolyzed, haemophilia hemophilia, haemophiliac hemophiliac,
haemorrhage hemorrhage, haemorrhagic hemorrhagic, haemorrhaging hemorrhaging,
haemorrhoid hemorrhoid, haemorrhoids hemorrhoids, haemorrhoidectomy hemorrhoidectomy,
haemostasis hemostasis, haemostatic hemostatic, haemodialysis hemodialysis,
haemodynamic hemodynamic, haemodynamically hemodynamically, haemofiltration hemofiltration,
haemopoiesis hemopoiesis, haemopoietic hemopoietic, haemoptysis hemoptysis,
haemothorax hemothorax, haemopneumothorax hemopneumothorax, haemopericardium hemopericardium,
haemoperitoneum hemoperitoneum, haemarthrosis hemarthrosis, haematemesis hematemesis,
haematocrit hematocrit, haematology hematology, haematologist hematologist,
haematological hematological, haematoma hematoma, haematomas hematomas, haematuria hematuria,
haematochezia hematochezia, haematogenous hematogenous, haematopoiesis hematopoiesis,
haematopoietic hematopoietic, haematinic hematinic, haemangioma hemangioma,
haemangiomas hemangiomas, haemochromatosis hemochromatosis, haemosiderin hemosiderin,
haemosiderosis hemosiderosis, haemagglutinin hemagglutinin, haem heme,
anaesthesia anesthesia, anaesthetic anesthetic, anaesthetics anesthetics,
anaesthetist anesthetist, anaesthesiology anesthesiology, anaesthetise anesthetize,
anaesthetised anesthetized, paraesthesia paresthesia, paraesthesiae paresthesiae,
dysaesthesia dysesthesia, hyperaesthesia hyperesthesia, hypoaesthesia hypoesthesia,
kinaesthetic kinesthetic, synaesthesia synesthesia,
paediatric pediatric, paediatrics pediatrics, paediatrician pediatrician,
orthopaedic orthopedic, orthopaedics orthopedics, orthopaedically orthopedically,
gynaecology gynecology, gynaecologist gynecologist, gynaecological gynecological,
gynaecomastia gynecomastia, urogynaecology urogynecology, caecum cecum, caecal cecal,
ileocaecal ileocecal, caecostomy cecostomy, retrocaecal retrocecal, faeces feces, faecal fecal,
faecalith fecalith, defaecation defecation, aetiology etiology, aetiological etiological,
aetiologies etiologies, caesarean cesarean, caesium cesium, caeruloplasmin ceruloplasmin,
naevus nevus, naevi nevi, praevia previa, laevocardia levocardia, laevulose levulose,
phaeochromocytoma pheochromocytoma, aegophony egophony,
oedema edema, oedematous edematous, lymphoedema lymphedema, papilloedema papilledema,
myxoedema myxedema, myxoedematous myxedematous, lipoedema lipedema, oesophagus esophagus,
oesophageal esophageal, oesophagitis esophagitis, oesophagectomy esophagectomy,
oesophagoscopy esophagoscopy, oesophagogastric esophagogastric,
gastrooesophageal gastroesophageal, tracheooesophageal tracheoesophageal,
transoesophageal transesophageal, paraoesophageal paraesophageal, oestrogen estrogen,
oestrogens estrogens, oestrogenic estrogenic, oestradiol estradiol, oestriol estriol,
oestrone estrone, oestrus estrus, antioestrogen antiestrogen, ethinyloestradiol ethinylestradiol,
dyspnoea dyspnea, dyspnoeic dyspneic, apnoea apnea, apnoeic apneic, apnoeas apneas,
tachypnoea tachypnea, tachypnoeic tachypneic, bradypnoea bradypnea, orthopnoea orthopnea,
hypopnoea hypopnea, hyperpnoea hyperpnea, eupnoea eupnea, diarrhoea diarrhea,
diarrhoeal diarrheal, seborrhoea seborrhea, seborrhoeic seborrheic, rhinorrhoea rhinorrhea,
otorrhoea otorrhea, amenorrhoea amenorrhea, amenorrhoeic amenorrheic,
dysmenorrhoea dysmenorrhea, oligomenorrhoea oligomenorrhea, galactorrhoea galactorrhea,
steatorrhoea steatorrhea, gonorrhoea gonorrhea, gonorrhoeal gonorrheal, pyorrhoea pyorrhea,
logorrhoea logorrhea, sialorrhoea sialorrhea, leucorrhoea leukorrhea, foetus fetus, foetal fetal,
foetuses fetuses, foetoscopy fetoscopy, alphafoetoprotein alphafetoprotein, foetor fetor,
coeliac celiac, hydrocoele hydrocele, varicocoele varicocele, rectocoeles rectoceles,
meningocoele meningocele, homoeopathy homeopathy, homoeopathic homeopathic,
homoeostasis homeostasis, amoeba ameba, amoebic amebic, amoebiasis amebiasis,
pharmacopoeia pharmacopeia, manoeuvre maneuver, manoeuvres maneuvers,
leucocyte leukocyte, leucocytes leukocytes, leucocytosis leukocytosis, leucopenia leukopenia,
leucopenic leukopenic, leucoplakia leukoplakia, leucoderma leukoderma, leucaemia leukemia,
leucoencephalopathy leukoencephalopathy, sulphate sulfate, sulphur sulfur,
sulphonamide sulfonamide, sulphonylurea sulfonylurea, sulphasalazine sulfasalazine,
sulphadiazine sulfadiazine, sulphite sulfite, sulphide sulfide, titre titer, titres titers,
goitre goiter, goitres goiters, litre liter, millilitre milliliter, millilitres milliliters,
microlitre microliter, decilitre deciliter, metre meter, centimetre centimeter,
centimetres centimeters, millimetre millimeter, kilometres kilometers, centre center,
centres centers, fibre fiber, fibres fibers, calibre caliber, theatre theater, tumour tumor,
tumours tumors, odour odor, odours odors, malodour malodor, colour color, colouring coloring,
discolouration discoloration, colourless colorless, behaviour behavior,
behavioural behavioral, misbehaviour misbehavior, labour labor, labouring laboring,
humour humor, vapour vapor, vapours vapors, flavour flavor, vigour vigor, rigour rigor,
favourable favorable, savour savor, neighbour neighbor, honour honor,
analyse analyze, analysed analyzed, analyser analyzer, analysing analyzing,
catalyse catalyze, paralyse paralyze, paralysed paralyzed, paralysing paralyzing,
dialyse dialyze, dialysed dialyzed, dialyser dialyzer, hydrolyse hydrolyze,
hydrolysed hydrolyzed, electrolyse electrolyze, thrombolysed thrombolyzed,
hospitalise hospitalize, hospitalised hospitalized, hospitalisation hospitalization,
catheterise catheterize, catheterised catheterized, catheterisation catheterization,
immunise immunize, immunised immunized, immunisation immunization, sterilise sterilize,
sterilised sterilized, sterilisation sterilization, stabilise stabilize, stabilised stabilized,
metastasise metastasize, metastasised metastasized, mobilise mobilize, mobilisation mobilization,
immobilised immobilized, visualise visualize, visualised visualized, localised localized,
generalised generalized, normalise normalize, normalised normalized, sensitise sensitize,
desensitisation desensitization, cauterise cauterize, cauterised cauterized,
nebuliser nebulizer, nebulised nebulized, vaporise vaporize, oxidise oxidize, oxidised oxidized,
fertilise fertilize, fertilisation fertilization, colonise colonize, colonised colonized,
recognise recognize, recognised recognized, randomise randomize, randomised randomized,
minimise minimize, optimise optimize, optimised optimized, traumatise traumatize,
traumatised traumatized, neutralise neutralize, crystallise crystallize,
revascularisation revascularization, vascularised vascularized, polarise polarize,
depolarisation depolarization, ionise ionize, ionising ionizing, pasteurised pasteurized,
tranquilliser tranquilizer, moisturiser moisturizer, moisturisers moisturizers,
fertiliser fertilizer, synthesise synthesize, synthesised synthesized, prioritise prioritize,
criticise criticize, organise organize, organisation organization, standardised standardized,
categorise categorize, characterised characterized, emphasise emphasize, summarise summarize,
labelled labeled, labelling labeling, counselling counseling, counsellor counselor,
counselled counseled, modelling modeling, signalling signaling, travelled traveled,
channelled channeled, cancelled canceled, programme program, grey gray, mould mold,
aluminium aluminum, neurone neuron, neurones neurons, defence defense, licence license
"""

UNCHANGED = """
aerobic aerobics anaerobic anaerobe aerosol aerosols aerosolized aeration aerate aerophagia
aeroallergen aerodigestive aesthetic aesthetics aesthetically aegis aerial aircraft maestro sundae
reggae paella phaeton israel michael raphael gaelic caesar vertebrae larvae papillae bursae
fistulae maxillae scapulae fibulae tibiae patellae conjunctivae corneae tracheae cochleae ampullae
lacunae vaginae venae cavae lumbricoides algae alumnae antennae formulae nebulae minutiae
influenzae pneumoniae agalactiae gonorrhoeae haemophilus caenorhabditis aedes aegypti laevis taenia
praecox vitae
gastroesophageal tracheoesophageal cardioesophageal laryngoesophageal pharyngoesophageal
phytoestrogen phytoestrogens xenoestrogen angioedema myoedema coenzyme coenzymes coefficient
coexist coexisting coeducation coerce coerced poem poet poetry does shoe shoes shoestring toe toes
toenail toenails tiptoe canoe aloe oboe hoe foe heroes potatoes tomatoes vetoed echoes phoenix
goes undergoes foregoes noel joel zoe chloe poetic bioelectric bioethics bioequivalent photoelectric
autoerotic radioelement microelement orthoepy roentgen roentgenogram loess moment
arise arises arising arisen rise rises rising sunrise raise raised raising praise praised bruise
bruised bruises bruising cruise noise noises noisy poise poised turquoise tortoise porpoise malaise
mayonnaise liaise appraise braise disease diseased diseases exercise exercised exercises exercising
excise excised excision incise incised incision circumcise circumcised circumcision precise
precisely concise advise advised adviser advising supervise supervised supervising improvise revise
revised devise devised devising televise promise promised promises promising compromise
compromised compromises compromising immunocompromised premise premises demise surmise chemise
comprise comprised comprises enterprise surprise surprised surprising reprise franchise merchandise
paradise advertise advertised advertising expertise treatise despise likewise otherwise clockwise
wise wiser guise disguise valise cerise anise denise louise marquise expertly
analyses paralyses dialyses catalyses bases crises diagnoses prognoses neuroses psychoses
metastases stenoses thromboses hypotheses syntheses emphases oases penises pelvises irises
trellises metropolises clitorises tennis pelvis penis iris epidermis dermis glottis epiglottis
arthritis hepatitis cirrhosis analysis dialysis paralysis catalysis hydrolysis lysis lysed
hour hours four pour poured tour tours detour contour contours contoured sour flour our your
devour scour dour velour glamour troubadour paramour source course court journal journey
nourish nourished flourish courage tournament tourniquet tourette
acre acres massacre mediocre lucre ogre cadre genre timbre chancre macabre double entre ventre
there where were more score before pore pores fire fired cure cured care cared sore sores acute
leucine leucines isoleucine leucovorin cell cells pill pills fill filled filling pull pulled full
swelling swellings swollen spell spelled spelling smell smelled dwell compelled expelled propelled
controlled controlling patrolled rebelled excelled installed installing stalled called calling
killed killing drilled milled thrilled skull hull controller cellular capillary collapse colleague
edema anemia fetus fetal hemoglobin hemorrhage leukemia estrogen esophagus esophageal diarrhea
pediatric orthopedic anesthesia celiac tumor color center liter fiber titer ischemia ischemic
uremia apnea dyspnea hypoglycemia gonorrhea sulfate leukocyte cecum feces nevus etiology
gynecology hematuria hematoma paralyze analyze hospitalize sterilize recognize organize labeled
asthma appendix stomach abdomen spleen kidney bladder prostate uterus ovary thyroid pancreas
medicine medicinal metoprolol lisinopril ibuprofen paracetamol omeprazole metformin amoxicillin
"""


def pairs() -> list[tuple[str, str]]:
    found = [tuple(pair.split()) for pair in " ".join(PAIRS.split()).split(",")]
    return [(british, other) for british, other in found]


def test_three_hundred_british_words_are_american_ones() -> None:
    assert len(set(pairs())) >= 300
    wrong = {b: (american(b), a) for b, a in pairs() if american(b) != a}
    assert not wrong


def test_american_words_stay() -> None:
    assert not {a: american(a) for _, a in pairs() if american(a) != a}


def test_three_hundred_words_that_only_look_british_stay() -> None:
    assert len(set(UNCHANGED.split())) >= 300
    assert not {word: american(word) for word in UNCHANGED.split() if american(word) != word}


@pytest.mark.parametrize(
    ("british", "american"),
    [
        ("Gastro-oesophageal reflux", "gastroesophageal reflux"),
        ("angio-oedema", "angioedema"),
        ("Ischaemic heart disease with peripheral oedema.", "ischemic heart disease, edema"),
        ("a CAESAREAN section", "a cesarean section"),
    ],
)
def test_in_sentences(british: str, american: str) -> None:
    words = normalize(american, "medical-en").split()
    assert set(words) <= set(normalize(british, "medical-en").split())


@given(st.text(st.sampled_from("aeoimnrstuyhlpgdz"), max_size=12))
def test_twice_is_once(word: str) -> None:
    assert american(american(word)) == american(word)
