"""Words that the sandbox's records are made of: invented names, summaries and notes.

Some hold what trips careless readers: quotes, commas, line breaks, letters beyond ASCII, text that looks like numbers.
"""

COMPANIES = (
    "Northwind Dental",
    "Käse & Söhne GmbH",
    "O'Brien Plumbing",
    'The "Golden" Anchor',
    "Société Générale du Café",
    "Łódź Logistics",
    "Blue Heron Clinic",
    "Ærø Shipping",
    "Summit Legal, LLP",
    "日本ソフトウェア",
    "Maple Street School",
    "Harbor Freight & Storage",
    "Ñandú Viajes",
    "Pine/Oak Partners",
    "Quarry Stone Co.",
    "Εργαστήριο Athens",
    "Redwood Credit Union",
    "Silver Lake Hotel",
    "0042 Industries",
    "Víðir Outdoor",
)
SUFFIXES = ("", " East", " West", " Holding", " Services", " Group", " International", " 2")
GIVEN = ("Ana", "Björn", "Chloé", "Dmitri", "Eoin", "Fatima", "Grzegorz", "Hana", "Iñigo", "Jane", "Kwame", "Li", "Zoë")
FAMILY = ("Alvarez", "Brown", "D'Angelo", "Eriksson", "Fischer", "Gómez", "Huang", "Ivanova", "Müller", "O'Neil", "Żak")
MEMBERS = ("AMiller", "BChen", "CJones", "DSilva", "EKhan", "FLarsson", "GRossi", "HNguyen")
SUMMARIES = (
    "Printer offline",
    "Cannot log in after password change",
    'Error "0x80070005" while saving',
    "VPN drops every 20 minutes",
    "New user setup",
    "E-mail to Zoë bounces",
    "Backup job failed, 3 of 5 sets",
    "Disk usage > 90%",
    "Outlook – Suchleiste fehlt",
    "Screen flickers 🙁",
    "Renew certificate",
    "Slow network",
)
PLACES = ("reception", "2nd floor", "warehouse", "server room", "head office", "Büro Nord", "home office", "lab")
NOTES = (
    "Restarted the service.",
    "Called the user;\nno answer.",
    'User says: "it works now".',
    "Replaced toner, ordered spare parts.",
    "Remote session – 15 min.",
    "naïve fix: cleared the cache",
    "",
    "\tSee ticket history",
)
STREETS = ("12 Main St", "Hauptstraße 5", "Rua da Paz, 77", "1-2-3 Ginza", "Calle Mayor 9", "PO Box 100")
CITIES = (("Tampa", "FL"), ("Köln", "NW"), ("Lisboa", ""), ("Tōkyō", ""), ("Málaga", "AN"), ("Dublin", "D"))
