// The one constant of it that the verbs headers use.
#pragma once

#define ETH_ALEN 6
